"""``auditflow rules compare``: the findings that a change of rules gains and loses."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from src.tests.archived_events import START_MS, archived, write

from audit_analysis.cli import compare_rules
from audit_analysis.cli.compare_rules import Comparison
from audit_analysis.hunt import archive_hunt
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

RULE = """
title: Login of {title}
id: {rule_id}
status: test
logsource: {{product: auditflow}}
detection: {{login: {{event_type: user_login, {condition}}}, condition: login}}
level: low
auditflow: {{group-by: [user_id], sentence: "{{user_id}} logged in"}}
"""
IDS = [f"5c1c7f0e-2f0f-4b7c-8b3a-0d8b7b1f9a0{number}" for number in range(3)]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    users = ("alice", "bob", "carol|`<b>")
    events = []
    for number, user in enumerate(users):
        record = msgspec.json.encode(
            {
                "event_id": user, "timestamp": event.from_epoch_ms(START_MS + number * 1000),
                "event_type": "user_login", "user_id": user,
            }
        )  # fmt: skip
        events.append(archived(number, event_id=user, source="other", product=None, record=record))
    (tmp_path / "sample").mkdir()
    write(tmp_path / "sample" / "1.parquet", events)
    return tmp_path / "sample"


def rules(folder: Path, *rules: tuple[int, str, str]) -> str:
    folder.mkdir()
    for number, title, condition in rules:
        text = RULE.format(title=title, rule_id=IDS[number], condition=condition)
        (folder / f"{number}.yml").write_text(text)
    return str(folder)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(compare_rules.command, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_gained_and_lost_findings_are_shown(sample: Path, tmp_path: Path) -> None:
    old = rules(
        tmp_path / "old",
        (0, "anybody", "user_id: '*'"),
        (1, "changed", "user_id: alice"),
        (2, "removed", "user_id: bob"),
    )
    new = rules(
        tmp_path / "new", (0, "anybody", "user_id: '*'"), (1, "changed", "user_id|startswith: car")
    )
    code, output, errors = run(old, new, "--files", str(sample), "--json")
    assert code == 0, errors
    result = msgspec.json.decode(output, type=Comparison)
    assert result.events == 3
    assert [found.actor for found in result.gained] == ["carol|`<b>"]
    assert [found.actor for found in result.lost] == ["alice", "bob"]
    code, output, _ = run(old, new, "--files", str(sample))
    assert "In 3 events: 1 gained, 2 lost." in output
    assert "| `Login of changed` | 1 | 1 |" in output
    assert "`carol\u00a6'<b> logged in`" in output


def test_a_correlation_of_a_changed_rule_is_compared(sample: Path, tmp_path: Path) -> None:
    correlation = """
title: Two logins
id: 1e3a9f5b-3c57-4a0b-8a39-7f0f6a6f2b11
status: test
correlation:
  type: event_count
  rules: [{rule_id}]
  group-by: [event_type]
  timespan: 5m
  condition: {{gte: 2}}
level: low
"""
    old = rules(tmp_path / "old", (0, "anybody", "user_id: '*'"))
    new = rules(tmp_path / "new", (0, "anybody", "user_id: alice"))
    for folder in (old, new):
        Path(folder, "two.yml").write_text(correlation.format(rule_id=IDS[0]))
    code, output, errors = run(old, new, "--files", str(sample), "--json")
    assert code == 0, errors
    result = msgspec.json.decode(output, type=Comparison)
    assert "Two logins" in {found.rule.title for found in result.lost}
    assert not result.gained


@pytest.fixture
def hunted(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The titles of the rules of each hunt that runs."""
    titles: list[set[str]] = []
    run_hunt = archive_hunt.run

    def record(selected: RuleSet, *arguments: Any, **options: Any) -> Any:
        titles.append({rule.ref.title for rule in selected.rules if not rule.staged})
        return run_hunt(selected, *arguments, **options)

    monkeypatch.setattr(archive_hunt, "run", record)
    return titles


def test_only_rules_that_differ_are_hunted(
    sample: Path, tmp_path: Path, hunted: list[set[str]]
) -> None:
    # Given two rules, and correlations at two levels; only one rule changes, in its own file
    old = rules(tmp_path / "old", (0, "same", "user_id: '*'"), (1, "changed", "user_id: bob"))
    new = rules(tmp_path / "new", (0, "same", "user_id: '*'"), (1, "changed", "user_id: alice"))
    for folder in (old, new):
        for number, (title, inner) in enumerate(
            (("one", IDS[1]), ("outer", f"{CORRELATION}0"), ("other", IDS[0]))
        ):
            text = COUNT.format(title=title, rule_id=f"{CORRELATION}{number}", inner=inner)
            Path(folder, f"{title}.yml").write_text(text)
    # when they are compared, then the changed rule is hunted, and the correlations of it
    assert run(old, new, "--files", str(sample))[0] == 0
    assert hunted == [{"Login of changed", "one", "outer"}] * 2


CORRELATION = "1e3a9f5b-3c57-4a0b-8a39-7f0f6a6f2b0"
COUNT = """
title: {title}
id: {rule_id}
status: test
correlation:
  type: event_count
  rules: [{inner}]
  group-by: []
  timespan: 5m
  condition: {{gte: 1}}
  generate: true
level: low
"""


def test_correlations_of_entities_are_hunted_alone(
    sample: Path, tmp_path: Path, hunted: list[set[str]]
) -> None:
    # Given two rules that change, and a correlation of one of them by user
    folders = []
    for name, condition in (("old", "user_id: alice"), ("new", "user_id: bob")):
        folder = rules(tmp_path / name, (0, "first", condition), (1, "second", condition))
        text = COUNT.format(title="several", rule_id=f"{CORRELATION}0", inner=IDS[0])
        text = text.replace("[]", "[user_id]").replace("gte: 1", "gte: 2")
        Path(folder, "several.yml").write_text(text)
        folders.append(folder)
    # when they are compared
    code, output, errors = run(*folders, "--files", str(sample), "--json")
    # then the correlation is hunted alone, the others together, and no finding is missing
    assert code == 0, errors
    assert hunted == [{"several"}, {"Login of first", "Login of second"}] * 2
    result = msgspec.json.decode(output, type=Comparison)
    titles = ["Login of first", "Login of second"]
    assert [(found.rule.title, found.actor) for found in result.gained] == [
        (title, "bob") for title in titles
    ]
    assert [(found.rule.title, found.actor) for found in result.lost] == [
        (title, "alice") for title in titles
    ]


def test_equal_rules_have_no_difference(sample: Path, tmp_path: Path) -> None:
    old = rules(tmp_path / "old", (0, "anybody", "user_id: '*'"))
    code, output, _ = run(old, old, "--files", str(sample))
    assert code == 0
    assert "In 3 events: 0 gained, 0 lost." in output


def test_invalid_rules_and_files_are_reported(sample: Path, tmp_path: Path) -> None:
    old = rules(tmp_path / "old", (0, "anybody", "user_id: '*'"))
    (tmp_path / "new.yml").write_text("title: [")
    assert run(old, str(tmp_path / "new.yml"), "--files", str(sample))[0] == 1
    (tmp_path / "empty").mkdir()
    assert "no Parquet files" in run(old, old, "--files", str(tmp_path / "empty"))[2]


def test_the_last_days_are_those_before_the_newest_event(tmp_path: Path) -> None:
    # Given events of a sample that is months old: the first one is eight days before the newest
    events = []
    for days, user in ((0, "alice"), (2, "bob"), (8, "carol")):
        at_ms = START_MS + days * 86_400_000
        login = {
            "event_id": user, "timestamp": event.from_epoch_ms(at_ms), "event_type": "user_login",
            "user_id": user,
        }  # fmt: skip
        record = msgspec.json.encode(login)
        events.append(archived(0, at_ms=at_ms, event_id=user, source="other", record=record))
    write(tmp_path / "sample.parquet", events)
    old = rules(tmp_path / "old", (0, "anybody", "user_id: nobody"))
    new = rules(tmp_path / "new", (0, "anybody", "user_id: '*'"))
    sample = ("--files", str(tmp_path / "sample.parquet"))
    # then the duration counts back from the newest event
    for last, actors in (("7d", ["bob", "carol"]), ("9d", ["alice", "bob", "carol"])):
        code, output, errors = run(old, new, *sample, "--last", last, "--json")
        assert code == 0, errors
        result = msgspec.json.decode(output, type=Comparison)
        assert [found.actor for found in result.gained] == actors
    # and a duration that is none is an error
    assert run(old, new, *sample, "--last", "week")[0] == 2
