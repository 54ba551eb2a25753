"""Rule files and test files that are damaged, huge or hostile: each fails alone, with a reason."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from audit_analysis.cli import rules as rules_command
from audit_analysis.ruletools import ruletest
from audit_analysis.sigma import text_sets
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import LoadedRules, load_valid
from auditflow.contract import event

ID = "20000000-0000-4000-8000-000000000009"
CORRELATION = f"""
title: Burst
id: 20000000-0000-4000-8000-000000000010
correlation: {{type: event_count, rules: [{ID}], timespan: 1m, condition: {{gte: 2}}}}
"""
#: Bounds of one load, far above what the limits allow and far below what an attack needs.
SECONDS = 20.0
MEBIBYTES = 300


def rule(
    number: int = 9,
    *,
    value: str = "x",
    condition: str = "s",
    more: str = "",
    field: str = "resource",
) -> str:
    return (
        f"title: Rule {number}\nid: 20000000-0000-4000-8000-{number:012}\n"
        "logsource: {product: auditflow, category: file_event}\n"
        f"detection: {{s: {{{field}: {value}}}, condition: {condition}}}\n{more}\n"
    )


def bomb() -> str:
    levels = "".join(
        f"{name}: &{name} [{','.join([f'*{inner}'] * 10)}]\n"
        for inner, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return f"a: &a [{','.join('x' * 10)}]\n{levels}"


def exclusion(**changed: str) -> str:
    parts = {
        "rules": "any",
        "field": "user_id",
        "value": "ansible",
        "condition": "not s",
        **changed,
    }
    return """
title: Exclusion
id: 30000000-0000-4000-8000-000000000001
logsource: {{product: auditflow, category: file_event}}
filter: {{rules: {rules}, s: {{{field}: {value}}}, condition: {condition}}}
auditflow: {{owner: platform, reason: CHG-1, expires: 2999-01-01}}
""".format(**parts)


#: The content of a file, and the reason that is reported.
BAD: dict[str, tuple[str | bytes, str]] = {
    "month 13": (rule(more="date: 2024-13-01"), "'2024-13-01' is not a valid timestamp"),
    "control character": (rule(more="author: a\x01b"), "control characters are not allowed"),
    "long number": (rule(value="9" * 6000), "a number has 6,000 characters"),
    "nested list": ("a: " + "[" * 200_000, "nested deeper than 64 levels"),
    "nested block": ("- " * 200_000 + "a", "nested deeper than 64 levels"),
    "nested keys": ("? " * 200_000 + "a", "nested deeper than 64 levels"),
    "many not": (rule(condition="not " * 2000 + "s"), "nested deeper than 30 levels"),
    "parentheses": (rule(condition="(" * 300 + "s" + ")" * 300), "nested deeper than 30 levels"),
    "unbalanced": (rule(condition="s) or (s"), "unbalanced parentheses"),
    "repeated selection": (
        rule(value="[" + "a*," * 2000 + "]", condition=" or ".join(["s"] * 60)),
        "repeats selections with 120,000 values",
    ),
    "slow reference": (rule(condition="1 of " + "s*" * 20), "more than 3 `*`"),
    "long condition": (rule(condition=" or ".join(["s"] * 3000)), "longer than 10,000"),
    "alias bomb": (bomb(), "aliases repeat more than 10,000 values"),
    "recursive alias": ("a: &a [*a]", "no complete anchor"),
    "undefined alias": ("a: *b", "no complete anchor"),
    "runbook": (rule(more="auditflow: {runbook: 5}"), "auditflow.runbook: must be a text"),
    "group-by": (rule(more="auditflow: {group-by: user_id}"), "must be a list of fields"),
    "dedup": (rule(more="auditflow: {dedup: 99999999y}"), "auditflow.dedup: must be between"),
    "sentence": (rule(more="auditflow: {sentence: '{0.__class__}'}"), "auditflow.sentence"),
    "long sentence": (rule(more=f"auditflow: {{sentence: {'x' * 3000}}}"), "at most 2,000"),
    "options": (rule(more="auditflow: 5"), "auditflow: must be a mapping"),
    "not a mapping": ("[1, 2]", "a rule is a mapping"),
    "text": ("text", "a rule is a mapping"),
    "duplicate id": (rule(1), "is already used at"),
    "duplicate key": (rule(more="title: again"), "the key 'title' is repeated"),
    "no id": (rule().replace("id: 2", "name: 2"), "a rule needs an id"),
    "id of a wrong type": (rule().replace(f"id: {ID}", "id: 5"), "not a Sigma rule"),
    "not UTF-8": (b"title: \xff\xfe", "is not UTF-8: byte 0xff"),
    "zero byte": (b"title: a\0b", "control characters are not allowed"),
    "object": ("title: !!python/object/apply:os.abort []", "is not supported"),
    "list as key": ("? [a]\n: b", "a key must be a text or a number"),
    "merge of a number": ("a: {<<: 5}", "`<<` requires a mapping"),
    "large file": ("a: 1\n#" + "x" * 17_000_000, "is larger than 16 MiB"),
    "long text": (rule(more="description: " + "x" * 100_000), "a text is longer than 64 KiB"),
    "many documents": ("--- a\n" * 3000, "has more than 2000 documents"),
    "many values": ("[" + "a," * 1_100_000 + "]", "has more than 1,000,000 values"),
    "many patterns": (rule(value="[" + "a*," * 60_000 + "]"), "values with wildcards or modifiers"),
    "windash": (
        rule(field="resource|windash", value="[" + "'-a -b -c'," * 1000 + "]"),
        "values with wildcards or modifiers",
    ),
    "many tags": (rule(more="tags: [" + "attack.t1001," * 200 + "]"), "has 200 tags"),
    "unknown modifier": (rule(field="resource|x"), "Unknown modifier"),
    "regular expression": (rule(field="resource|re", value="'(a{1000}){1000}'"), "invalid repetition size"),
    "number without end": (rule(field="resource|gt", value=".inf"), ""),
    "unknown action": (rule(more="action: nonsense"), "Unknown Sigma collection action"),
    "lone surrogate": (rule(value='"\\ud800"'), "invalid Unicode character"),
    "timespan": (CORRELATION.replace("1m", "9999y")+ "---\n" + rule(value="other"), "timespan"),
    "threshold": (CORRELATION.replace("2}", "1000000000}")+ "---\n" + rule(value="other"), "threshold"),
    "missing rule": (CORRELATION, f"depends on the rule {ID}, which does not exist"),
    "exclusion that cannot be compiled": (
        exclusion(field="user_id|re", value="'(?=a)'"), "invalid perl operator"
    ),
    "exclusion with a placeholder": (
        exclusion(field="user_id|expand", value="'%missing%'"), "the placeholder %missing%"
    ),
    "exclusion of an unknown selection": (exclusion(condition="not t"), "not defined"),
    "exclusion with many not": (exclusion(condition="not " * 500 + "s"), "nested deeper than 30"),
}  # fmt: skip


def fires(loaded: LoadedRules, **changed: str) -> list[str]:
    fields = {
        "event_id": "e", "timestamp": "2026-01-01T00:00:00Z", "event_type": "file_modified",
        "resource": "x", **changed,
    }  # fmt: skip
    view = View(event.decode(msgspec.json.encode(fields)))
    return [detector.rule.ref.title for detector in loaded.rules.match(view)]


def load_within_bounds(folder: Path) -> LoadedRules:
    """Load the rules, and check the CPU time and the growth of the process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.thread_time()
    loaded = load_valid([folder], lateness=0)
    assert time.thread_time() - started < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEBIBYTES
    return loaded


@pytest.mark.parametrize("name", BAD)
def test_bad_file_fails_alone(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    (tmp_path / "0.yml").write_text(rule(1))
    bad = tmp_path / "bad.yml"
    bad.write_bytes(content.encode() if isinstance(content, str) else content)

    loaded = load_within_bounds(tmp_path)

    assert fires(loaded) == ["Rule 1"]
    assert loaded.faults
    assert {fault.path for fault in loaded.faults} == {bad}
    assert reason in loaded.faults[0].message
    assert all(fault.message.isprintable() for fault in loaded.faults)

    output = CliRunner().invoke(rules_command, ["lint", str(tmp_path)])
    assert output.exit_code == 1
    assert "bad.yml:" in output.output
    assert "Traceback" not in output.output


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_fifo, "not a regular file"),
        (make_folder, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to("missing"), "No such file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
    ids=["fifo", "folder", "device", "broken link", "link to itself"],
)
def test_special_file_fails_alone(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "0.yml").write_text(rule(1))
    make(tmp_path / "bad.yml")
    loaded = load_within_bounds(tmp_path)
    assert fires(loaded) == ["Rule 1"]
    assert [(fault.path.name, reason in fault.message) for fault in loaded.faults] == [
        ("bad.yml", True)
    ]


def test_correlation_names_its_rule_that_failed(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(rule(condition="unknown"))
    (tmp_path / "burst.yml").write_text(CORRELATION)
    loaded = load_valid([tmp_path], lateness=0)
    messages = {fault.path.name: fault.message for fault in loaded.faults}
    assert messages.keys() == {"base.yml", "burst.yml"}
    assert "its rule 'Rule 9' has a fault" in messages["burst.yml"]

    (tmp_path / "base.yml").write_text(rule(more="level: unknown"))
    loaded = load_valid([tmp_path], lateness=0)
    messages = {fault.path.name: fault.message for fault in loaded.faults}
    assert f"depends on the rule {ID}, which has a fault" in messages["burst.yml"]


def test_many_exclusions_of_one_rule_are_not_nested(tmp_path: Path) -> None:
    (tmp_path / "0.yml").write_text(rule(1))
    for number in range(100):
        text = exclusion(value=f"user-{number}").replace("000000000001", f"{number:012}")
        (tmp_path / f"exclusion-{number}.yml").write_text(text)
    loaded = load_within_bounds(tmp_path)
    assert loaded.faults == ()
    assert fires(loaded, user_id="user-99") == []
    assert fires(loaded, user_id="user-100") == ["Rule 1"]


@pytest.mark.parametrize(
    ("modifier", "hit", "miss"),
    [
        ("", "/DATA/123", "/data/123x"),
        ("|contains", "a/data/123b", "/dat"),
        ("|startswith", "/data/123b", "a/data/123"),
        ("|endswith", "a/data/123", "/data/123b"),
    ],
)
def test_long_list_matches_like_a_short_list(
    modifier: str, hit: str, miss: str, tmp_path: Path
) -> None:
    for number in (3, 200):
        values = [f"/Data/{index}" for index in range(123, 123 + number)]
        (tmp_path / "0.yml").write_text(rule(1, field=f"resource{modifier}", value=str(values)))
        loaded = load_valid([tmp_path], lateness=0)
        assert fires(loaded, resource=hit) == ["Rule 1"]
        assert fires(loaded, resource=miss) == []


def test_long_list_with_wildcards_and_numbers_keeps_all_values(tmp_path: Path) -> None:
    values = [*(f"v{index}" for index in range(text_sets.MIN_VALUES)), "w*", 7, "", None]
    (tmp_path / "0.yml").write_text(
        rule(1, value=msgspec.json.encode(values).decode(), condition="not s")
    )
    loaded = load_valid([tmp_path], lateness=0)
    assert fires(loaded, resource="other") == ["Rule 1"]
    for value in ("v0", "wx", "7", "V63"):
        assert fires(loaded, resource=value) == []


def test_two_conditions_on_a_field_with_long_lists(tmp_path: Path) -> None:
    first = [f"a{index}" for index in range(100)]
    (tmp_path / "0.yml").write_text(
        rule(1, field="resource|contains", value=f"{first}, resource|endswith: {first}")
    )
    loaded = load_valid([tmp_path], lateness=0)
    assert fires(loaded, resource="xa1") == ["Rule 1"]
    assert fires(loaded, resource="a1x") == []


def test_200_000_values_are_loaded_in_less_than_a_second(tmp_path: Path) -> None:
    values = "".join(f"      - 10.{i >> 16}.{(i >> 8) & 255}.{i & 255}\n" for i in range(200_000))
    (tmp_path / "0.yml").write_text(
        f"title: Indicators\nid: {ID}\nlogsource: {{product: auditflow}}\n"
        f"detection:\n  s:\n    client_ip:\n{values}  condition: s\n"
    )
    load_valid([tmp_path], lateness=0)
    started = time.thread_time()
    loaded = load_valid([tmp_path], lateness=0)
    assert time.thread_time() - started < 1
    assert fires(loaded, client_ip="10.3.13.63") == ["Indicators"]
    assert fires(loaded, client_ip="10.3.13.64") == []


TEST = "tests: [{name: n, events: [{at: 0, event_type: a}], fires: {}}]"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TEST.replace("at: 0", "at: 0, times: 1000000000"), "at most 10,000 events"),
        (TEST.replace("at: 0", "at: 0, times: x"), "`times` must be a number"),
        (TEST.replace("at: 0", "at: 0, times: 1.5"), "float"),
        (TEST.replace("at: 0", "at: 1.0e+300"), "`at` must be a number of seconds"),
        (TEST.replace("at: 0", "at: .nan"), "`at` must be a number of seconds"),
        (TEST.replace("at: 0, ", ""), "has no `at`"),
        (TEST.replace("fires: {}", "fires: 5"), "`fires` must be a mapping"),
        (TEST.replace("fires: {}", "fires: {}, descriptions: 5"), "`descriptions` must be a list"),
        (
            TEST.replace("fires: {}", "fires: {}, descriptions: [], says: []"),
            "`descriptions` or its old name `says`, not both",
        ),
        (TEST.replace("[{at: 0, event_type: a}]", "5"), "`events` must be a list"),
        ("tests: 5", "`tests` must be a list"),
        (TEST + "\ndefaults: 5", "`defaults` must be a mapping"),
        (TEST + "\ndefaults: {source: kubernetes, record: 5}", ""),
        (TEST.replace("event_type: a", "details: " + "[" * 100 + "]" * 100), "64 levels"),
        (bomb(), "aliases repeat"),
        ("", "must be one document"),
        ("tests: [[[[", "line 2: YAML"),
        ("tests: \x01", "control characters"),
    ],
)
def test_bad_test_file_is_reported(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "0.yml").write_text(rule(1))
    path = tmp_path / "0.test.yml"
    path.write_text(content)
    with pytest.raises(ruletest.TestFault) as raised:
        ruletest.read(path)
    assert reason in str(raised.value)
    for command in ("lint", "test"):
        output = CliRunner().invoke(rules_command, [command, str(tmp_path)])
        assert isinstance(output.exception, SystemExit)
        assert output.exit_code == 1
