"""``auditflow rules`` at the terminal: what it says, and how it exits."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from audit_analysis.cli import rules

RULE = """\
title: Tea made
id: 7b8f2a0e-5d0c-4a43-9a52-2a7a4f0a1c11
status: test
description: Somebody made tea in the data centre.
level: high
tags: [attack.impact, attack.t1485]
falsepositives: [Thirst.]
logsource: {product: auditflow}
detection:
  tea: {event_type: tea_made}
  condition: tea
auditflow: {sentence: "{user_id} made tea", runbook: "https://example.org/tea"}
"""
TESTS = """\
defaults: {event_type: tea_made, user_id: alice}
tests:
  - name: tea
    events: [{at: 0}]
    fires: {Tea made: 1}
    descriptions: [alice made tea]
  - name: coffee
    events: [{at: 0, event_type: coffee_made}]
    fires: {}
"""
EXEC = {
    "kind": "EventList",
    "apiVersion": "audit.k8s.io/v1",
    "items": [
        {
            "auditID": "a1",
            "stage": "ResponseStarted",
            "stageTimestamp": "2020-05-01T00:00:00Z",
            "verb": "create",
            "user": {"username": "alice@example.com"},
            "sourceIPs": ["192.0.2.34"],
            "objectRef": {
                "resource": "pods",
                "subresource": "exec",
                "namespace": "shop",
                "name": "web",
            },
            "responseStatus": {"code": 101},
        },
        {"auditID": "a2", "stage": "ResponseComplete"},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rules with one good rule and its tests."""
    (tmp_path / "tea.yml").write_text(RULE)
    (tmp_path / "tea.test.yml").write_text(TESTS)
    return tmp_path


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(rules, [str(argument) for argument in arguments], input=stdin)


def test_help_names_every_command() -> None:
    result = run("--help")

    assert result.exit_code == 0
    for command in ("lint", "test", "backtest", "list", "coverage"):
        assert f"  {command} " in result.output
        assert run(command, "--help").exit_code == 0
    assert run("brew").exit_code == 2


def test_our_own_rules_are_without_fault() -> None:
    result = run("lint", "--strict")

    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert ": 0 errors, 0 to improve" in result.stderr


def test_lint_names_all_errors_with_their_places(folder: Path) -> None:
    (folder / "a.yml").write_text(RULE.replace("condition: tea", "condition: coffee"))
    (folder / "b.yml").write_text("title: [\n")
    (folder / "c.yml").write_text("---\n" + RULE.replace("tea_made", "other"))
    (folder / "tea.test.yml").write_text("tests: [{name: a, events: [], fires: {}, when: now}]")

    result = run("lint", folder)

    assert result.exit_code == 1
    locations = [
        line.split(": error: ")[0] for line in result.stdout.splitlines() if "error:" in line
    ]
    assert {Path(location.rpartition(":")[0]).name for location in locations} == {
        "a.yml", "b.yml", "c.yml", "tea.yml", "tea.test.yml",
    }  # fmt: skip
    assert all(location.rpartition(":")[2].isdigit() for location in locations)
    assert "unknown key: when" in result.stdout


def test_lint_advises_and_insists_only_when_strict(folder: Path) -> None:
    (folder / "tea.yml").write_text(RULE.replace("falsepositives: [Thirst.]\n", ""))
    (folder / "tea.test.yml").unlink()

    result = run("lint", folder)

    assert result.exit_code == 0
    assert "advice: 'Tea made' has no falsepositives" in result.stdout
    assert "has no tests (tea.test.yml)" in result.stdout
    assert run("lint", "--strict", folder).exit_code == 1


def test_lint_summarizes_advice_by_kind_before_it_lists_it(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.yml").write_text(
            RULE.replace("title: Tea made", f"title: Rule {number}").replace(
                "7b8f2a0e", f"{number}b8f2a0e"
            )
        )

    lines = run("lint", folder).stdout.splitlines()

    summary = [line for line in lines if line.startswith("advice: ")]
    assert summary == ["advice: 3 rules: has no tests"]
    assert "advice: 'Rule 0' has no tests (0.test.yml)" in lines[-3]


def test_lint_of_nothing_is_an_error(tmp_path: Path) -> None:
    assert run("lint", tmp_path).exit_code == 1
    assert run("lint", tmp_path / "absent").exit_code == 2


def test_tests_that_hold(folder: Path) -> None:
    result = run("test", "-v", folder)

    assert result.exit_code == 0, result.output
    assert "2 tests of 1 rule: all as expected" in result.stdout
    assert "✓ coffee" in result.stdout


@pytest.mark.parametrize("name", ["tea.yml", "tea.test.yml"])
def test_a_rule_or_its_tests_may_be_named(folder: Path, name: str) -> None:
    (folder / "broken.yml").write_text("title: no rule")

    assert run("test", folder / name).exit_code == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("fires: {}", "fires: {Tea made: 2}", "coffee: expected Tea made x2, got nothing"),
        ("Tea made: 1", "Tea made: 3", "tea: expected Tea made x3, got Tea made x1"),
        (
            "alice made tea",
            "bob made tea",
            "expected the descriptions ['bob made tea'], got ['alice made",
        ),
        ("event_type: tea_made, ", "severity: LOUD, event_type: tea_made, ", "LOUD"),
    ],
)
def test_a_failed_rule_test_reports_the_reason(
    folder: Path, before: str, after: str, message: str
) -> None:
    (folder / "tea.test.yml").write_text(TESTS.replace(before, after))

    result = run("test", folder)

    assert result.exit_code == 1
    assert message in result.stdout
    assert "failed" in result.stdout


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("tests: [", "YAML"),
        ("tests: [{name: a, events: [{at: 0}]}]", "has no `fires`"),
        (
            "defaults: {source: moon}\ntests: [{name: a, events: [{at: 0}], fires: {}}]",
            "moon is not",
        ),
        (
            "defaults: {source: okta}\ntests: [{name: a, events: [{at: 0, record: {uuid: 5}}], fires: {}}]",
            "the record is not valid for okta: Expected `str`, got `int`",
        ),
        (
            "tests: [{name: a, events: [{at: 0, source: okta, record: text}], fires: {}}]",
            "`record` must be a mapping, or a list of lines",
        ),
        (
            "defaults: {source: okta, user_id: a}\ntests: [{name: a, events: [{at: 0}], fires: {}}]",
            "an event with a source has only a record, not also user_id",
        ),
        ("tests: [{name: a, events: [{}], fires: {}}]", "at"),
    ],
)
def test_tests_that_cannot_be_read_are_an_error(folder: Path, tests: str, message: str) -> None:
    (folder / "tea.test.yml").write_text(tests)

    result = run("test", folder)

    assert result.exit_code == 1
    assert message in result.stderr
    assert "tea.test.yml" in result.stderr


def test_no_tests_are_an_error(folder: Path) -> None:
    assert run("test", "-k", "coffee", folder).exit_code == 0
    assert run("test", "-k", "cocoa", folder).exit_code == 1


def test_the_list_is_a_table_or_json(folder: Path) -> None:
    table = run("list", folder)
    assert "7b8f2a0e-5d0c-4a43-9a52-2a7a4f0a1c11  Tea made  high" in table.stdout
    [entry] = json.loads(run("list", "--json", folder).stdout)
    assert (entry["title"], entry["source"], entry["kind"]) == ("Tea made", "auditflow", "event")
    assert json.loads(run("list", "--json", "--source", "moon", folder).stdout) == []


def test_a_chart_is_written_and_checked(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    assert run("coverage", "--check", out, folder).exit_code == 1
    assert run("coverage", "--write", out, folder).exit_code == 0
    assert run("coverage", "--check", out, folder).exit_code == 0
    assert json.loads((out / "attack-layer.json").read_text())["techniques"][0]["score"] == 1
    assert "T1485 Data Destruction" in run("coverage", folder).stdout


def events(*kinds: str, **changes: Any) -> bytes:
    lines = (
        {
            "event_id": f"e{number}",
            "timestamp": "2020-05-01T00:00:00Z",
            "event_type": kind,
            "user_id": f"user-{number}",
            **changes,
        }
        for number, kind in enumerate(kinds)
    )
    return "\n".join(map(json.dumps, lines)).encode()


def test_a_backtest_lists_the_findings_of_a_log(folder: Path) -> None:
    log = folder / "log.ndjson"
    log.write_bytes(events("tea_made", "coffee_made", "tea_made"))

    result = run("backtest", log, "--rules", folder, "--findings")

    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stdout.splitlines() if line.startswith("high ")]
    assert line.split() == ["high", "Tea", "made", "2", "2", "user-0", "made", "tea"]
    assert "2020-05-01T00:00:00+00:00  Tea made: user-2 made tea" in result.stdout
    assert "3 events through 1 rule: 2 findings of 1 rule" in result.stderr
    assert "finding_id" not in result.output, "the engine's log is not the answer"


def test_backtest_names_staged_rules_and_reports_them_on_request(folder: Path) -> None:
    staged = RULE.replace("Tea made", "Coffee made").replace("status: test", "status: experimental")
    staged = re.sub("^id: .", "id: 9", staged, flags=re.M).replace("tea_made", "coffee_made")
    (folder / "coffee.yml").write_text(staged)
    log = folder / "log.ndjson"
    log.write_bytes(events("tea_made", "coffee_made", "coffee_made"))

    result = run("backtest", log, "--rules", folder)

    assert [line.split()[1:3] for line in result.stdout.splitlines()[1:]] == [["Tea", "made"]]
    assert "3 events through 2 rules: 1 finding of 1 rule" in result.stderr
    assert "1 staged rule (status: experimental) would have made 2 more findings" in result.stderr
    assert "  Coffee made: 2 findings" in result.stderr

    result = run("backtest", log, "--rules", folder, "--staged", "--findings")

    assert "Coffee made (staged)" in result.stdout
    assert result.stdout.count("Coffee made: user-") == 2


def test_the_report_as_json_is_all_of_standard_output(folder: Path) -> None:
    log = folder / "log.ndjson.gz"
    log.write_bytes(gzip.compress(events("tea_made") + b"\nno event\n"))

    result = run("backtest", "--json", "--rules", folder, log)

    report = json.loads(result.stdout)
    assert (report["events"], report["refused"], report["late"]) == (1, 1, 0)
    assert report["rules"][0]["title"] == "Tea made"
    assert report["findings"][0]["description"] == "user-0 made tea"
    assert "refused: line 2: " in result.stderr


def test_the_source_of_a_log_is_detected_by_its_first_record(tmp_path: Path) -> None:
    log = tmp_path / "audit.json"
    log.write_text(json.dumps(EXEC))

    for source in ([], ["--source", "kubernetes"]):
        result = run("backtest", log, *source)
        assert result.exit_code == 0, result.output
        assert "Command run inside a pod" in result.stdout
        assert "alice@example.com from 192.0.2.34 opened a session in shop/pods/web/exec" in (
            result.stdout
        )
        assert "refused: items[1]: " in result.stderr


def test_standard_input_is_a_file_as_well(folder: Path) -> None:
    result = run("backtest", "-", "--rules", folder, stdin=events("tea_made"))

    assert "1 finding of 1 rule" in result.stderr


def test_several_files_are_one_stream(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(events("tea_made", event_id=name))

    result = run("backtest", folder / "a", folder / "b", "--rules", folder)

    assert "2 events through 1 rule: 2 findings of 1 rule" in result.stderr


@pytest.mark.parametrize(
    ("body", "arguments", "message"),
    [
        (b"hello", [], "Add --source with one of"),
        (b"{}", ["--source", "moon"], "unknown source moon"),
        (b"{}", ["--source", "cloudtrail"], "missing required field `Records`"),
        (b"\x1f\x8bxx", [], "cannot be read"),
    ],
)
def test_unreadable_input_is_reported(
    folder: Path, body: bytes, arguments: list[str], message: str
) -> None:
    log = folder / "log"
    log.write_bytes(body)

    result = run("backtest", log, "--rules", folder, *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_file_is_reported(folder: Path) -> None:
    result = run("backtest", folder / "absent", "--rules", folder)

    assert (result.exit_code, "No such file" in result.stderr) == (1, True)


def test_foreign_rules_that_cannot_be_used_are_left_out(folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "bad.yml").write_text("title: no rule")
    (foreign / "good.yml").write_text(
        RULE.replace("Tea made", "Tea elsewhere").replace("1c11", "1c12")
    )
    log = folder / "log"
    log.write_bytes(events("tea_made"))

    result = run("backtest", log, "--rules", folder / "tea.yml", "--foreign", foreign)

    assert result.exit_code == 0, result.output
    assert "of foreign rules, which are skipped" in result.stderr
    assert "2 findings of 2 rules" in result.stderr


def test_unusable_rules_are_reported_with_their_lines(folder: Path) -> None:
    (folder / "bad.yml").write_text("title: no rule")
    (folder / "log").write_bytes(events("tea_made"))

    result = run("backtest", folder / "log", "--rules", folder)

    assert result.exit_code == 1
    assert "bad.yml:1: " in result.stderr


def test_logging_is_as_before_when_a_command_is_done(folder: Path) -> None:
    before = structlog.get_config()

    run("test", folder)

    assert structlog.get_config() == before
