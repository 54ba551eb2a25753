"""The mutation tool: it finds mutations, runs tests against them and reports survivors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from src.devtools.mutation import configuration, operators, run
from src.devtools.mutation.__main__ import MINIMUM, REQUIRED, main, report, sample
from src.devtools.mutation.operators import Mutation
from src.devtools.mutation.run import MutationResult, Runner, Target, UnusableTestsError


@pytest.mark.parametrize(
    ("source", "replacements"),
    [
        ("a < b", ["(a <= b)"]),
        ("a < b == c", ["(a <= b == c)", "(a < b != c)"]),
        ("a and b", ["(a or b)"]),
        ("not a", ["(a)"]),
        ("a + b", ["(a - b)"]),
        ("min(a)", ["(max(a))", "pass"]),
        ("x = 7", ["(8)"]),
        ("x = True", ["(False)"]),
        ("a if b else c", ["(c if b else a)"]),
        ("def f():\n    return a", ["return None"]),
        ("def f() -> bool:\n    return a", ["return not a"]),
        ("def f() -> bool:\n    return False", ["(True)"]),
        ("def f():\n    raise E(a + 1, all(b))", ["pass"]),
        ("def f():\n    call(a)", ["pass"]),
        ("x += y", ["x -= y"]),
        ("for x in y:\n    break", ["continue"]),
        # left out: annotations, types, docstrings, texts, log messages
        ("def f(a: int | None = b) -> A | B:\n    'text'", []),
        ("Located = ast.expr | None", []),
        ("logger.info(a)", []),
        ("x = f'{a < b}'", []),
        ("def f():\n    return None", []),
        ("class C(Struct, frozen=True, gc=False):\n    pass", []),
        ("class C(Struct, order=True):\n    pass", ["(False)"]),
    ],
)
def test_mutations_of_a_source(source: str, replacements: list[str]) -> None:
    found = operators.mutations(source)
    assert sorted(mutation.replacement for mutation in found) == sorted(replacements)
    for mutation in found:
        assert ast.dump(ast.parse(mutation.apply(source))) != ast.dump(ast.parse(source))


def test_offsets_are_correct_after_characters_of_several_bytes() -> None:
    (mutation,) = operators.mutations("x = 'äöü€'; y = a < b")
    assert mutation.apply("x = 'äöü€'; y = a < b") == "x = 'äöü€'; y = (a <= b)"


@pytest.fixture
def runner(target: Target) -> Iterator[Runner]:
    with Runner() as started:
        yield started


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A module with a strict test of ``double`` and no test of ``half``."""
    (tmp_path / "numbers_module.py").write_text(
        "def double(x):\n    return x * 2\n\n\ndef half(x):\n    return x - 1\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import sys\nsys.path.insert(0, '.')\nfrom numbers_module import double\n\n\n"
        "def test_double():\n    assert double(3) == 6\n"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    return Target("numbers_module.py", ("test_it.py",))


def test_a_tested_mutation_is_killed_and_an_untested_one_survives(
    target: Target, runner: Runner
) -> None:
    baseline = runner.baseline_seconds(target)
    outcomes = {
        (mutation.line, runner.check(target, mutation, baseline=baseline))
        for mutation in operators.mutations(target.source)
    }
    assert outcomes == {(2, MutationResult.KILLED), (6, MutationResult.SURVIVED)}
    # the file is unchanged
    assert "return x * 2" in target.source


def test_failing_tests_cannot_judge(target: Target, runner: Runner) -> None:
    target.file.write_text("def double(x):\n    return 0\n")
    with pytest.raises(UnusableTestsError, match="its tests fail without a mutation"):
        runner.baseline_seconds(target)


def test_a_hanging_mutation_is_killed(
    target: Target, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.file.write_text("def double(x):\n    while x != 3:\n        pass\n    return x * 2\n")
    monkeypatch.setattr(run, "_MIN_TIMEOUT_SECONDS", 5.0)
    hanging = next(
        mutation for mutation in operators.mutations(target.source) if "==" in mutation.replacement
    )
    assert runner.check(target, hanging, baseline=0.0) is MutationResult.KILLED
    monkeypatch.setattr(run, "_MIN_TIMEOUT_SECONDS", 60.0)
    assert runner.check(target, _equivalent(target), baseline=0.0) is MutationResult.SURVIVED


#: Ends the server process, of which the tests run in a child, until the file "ended" has enough characters.
END_THE_SERVER = """
import os, pathlib, signal
ended = pathlib.Path("ended")
count = len(ended.read_text()) if ended.exists() else 0
if count < {times}:
    ended.write_text("x" * (count + 1))
    os.kill(os.getppid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("times", "outcome"), [(1, MutationResult.SURVIVED), (9, MutationResult.KILLED)]
)
def test_a_mutation_that_ends_the_server_does_not_end_the_run(
    target: Target, runner: Runner, times: int, outcome: MutationResult
) -> None:
    # given tests that end the process that runs them, once or every time
    test_file = run.ROOT / "test_it.py"
    strict = test_file.read_text("utf-8")
    test_file.write_text(END_THE_SERVER.format(times=times) + strict, "utf-8")

    # then a second process decides, and the next mutation is checked as usual
    assert runner.check(target, _equivalent(target), baseline=0.0) is outcome
    test_file.write_text(strict, "utf-8")
    assert runner.check(target, _equivalent(target), baseline=0.0) is MutationResult.SURVIVED


def test_tests_that_end_the_server_cannot_judge(target: Target, runner: Runner) -> None:
    test_file = run.ROOT / "test_it.py"
    test_file.write_text(END_THE_SERVER.format(times=9) + test_file.read_text("utf-8"), "utf-8")
    with pytest.raises(UnusableTestsError, match="ended with exit code -9"):
        runner.baseline_seconds(target)


def _equivalent(target: Target) -> Mutation:
    return Mutation(0, 3, 1, "def", "def", target.source.splitlines()[0])


def test_a_mutation_does_not_affect_the_next_run(target: Target, runner: Runner) -> None:
    (mutation, *_) = operators.mutations(target.source)
    outcomes = [runner.check(target, it, baseline=0.0) for it in (mutation, _equivalent(target))]
    assert outcomes == [MutationResult.KILLED, MutationResult.SURVIVED]


def test_the_seed_determines_the_sample(target: Target) -> None:
    first = [mutation for _, mutation in sample([target], "2026-11-30")]
    assert first == [mutation for _, mutation in sample([target], "2026-11-30")]
    orders = {tuple(mutation for _, mutation in sample([target], str(seed))) for seed in range(20)}
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(first)}


def test_a_low_share_of_killed_mutations_fails(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = (target, operators.mutations(target.source)[0])

    def result(killed: int, survived: int, unchecked: int = 0) -> int:
        outcomes = (
            [MutationResult.KILLED] * killed
            + [MutationResult.SURVIVED] * survived
            + [None] * unchecked
        )
        return report([pair] * len(outcomes), outcomes)

    assert result(killed=100, survived=0) == 0
    assert "numbers_module.py:" not in capsys.readouterr().out
    assert result(killed=round(100 * MINIMUM), survived=100 - round(100 * MINIMUM)) == 0
    assert "numbers_module.py:" in capsys.readouterr().out
    assert result(killed=round(100 * MINIMUM) - 1, survived=101 - round(100 * MINIMUM)) == 1


def test_a_run_that_checks_too_few_mutations_fails(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = (target, operators.mutations(target.source)[0])

    def result(killed: int, unchecked: int) -> int:
        outcomes = [MutationResult.KILLED] * killed + [None] * unchecked
        return report([pair] * len(outcomes), outcomes)

    assert result(killed=REQUIRED, unchecked=100) == 0
    assert capsys.readouterr().out.endswith("minimum 90%)\n")
    assert result(killed=REQUIRED - 1, unchecked=1) == 1
    assert "Only 39 mutations were checked, and 40 are required." in capsys.readouterr().out
    # a module can have fewer mutations
    assert result(killed=5, unchecked=0) == 0
    assert result(killed=5, unchecked=1) == 1


def test_the_time_limit_does_not_apply_to_the_required_mutations(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "targets", lambda: [target])
    monkeypatch.setattr("src.devtools.mutation.__main__.MAX_EXTENSION", 1e9)
    monkeypatch.setattr("src.devtools.mutation.__main__.REQUIRED", 2)
    assert len(operators.mutations(target.source)) > 2

    main(["--seconds", "1e-6", "--jobs", "1", "--seed", "a"])

    assert "of 2 mutations killed" in capsys.readouterr().out


def test_configured_targets_exist_and_accepted_survivors_are_current() -> None:
    targets = {target.module: target for target in configuration.targets()}
    assert len(targets) >= 15
    for survivor in configuration.survivors():
        mutations = operators.mutations(targets[survivor.module].source)
        assert any(survivor.matches(survivor.module, mutation) for mutation in mutations), (
            f"remove the entry of {survivor.original!r} from survivors.toml"
        )
