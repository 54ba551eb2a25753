"""A public rule set in small, laid out as SigmaHQ's is, against its own test events."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from audit_analysis.cli import rules as program

ENCODED, SCRIPT, SERVICE, LOOK, CLOUD = (
    f"50000000-0000-4000-8000-00000000000{number}" for number in range(1, 6)
)


def rule(number: str, detection: dict[str, Any], **source: str) -> dict[str, Any]:
    return {"title": number, "id": number, "logsource": source, "detection": detection}


def windows(event_id: Any, body: dict[str, Any], channel: str = "Sysmon") -> dict[str, Any]:
    """An event as tools print a binary log of Windows."""
    system = {
        "Provider": {"#attributes": {"Name": "Our-Provider", "Guid": "1"}},
        "EventID": event_id,
        "Channel": channel,
    }
    return {"Event": {"#attributes": {"xmlns": "x"}, "System": system, **body}}


class Checkout:
    """A directory of rules and of events for them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(
        self,
        rule: dict[str, Any],
        *events: Any,
        kind: str = "json",
        binary: bool = False,
        wanted: int = 1,
    ) -> None:
        """A rule with its test events, of which ``wanted`` match."""
        rule_file = self.root / "rules" / "windows" / f"{rule['id']}.yml"
        rule_file.parent.mkdir(parents=True, exist_ok=True)
        rule_file.write_text(yaml.safe_dump(rule))
        data = self.root / "regression_data" / "rules" / "windows" / rule["id"]
        data.mkdir(parents=True)
        name = f"{rule['id']}.{'evtx' if binary else kind}"
        if binary:
            (data / name).write_bytes(b"ElfFile\0")
        if events:
            body = b"\n".join(msgspec.json.encode(event) for event in events)
            (data / f"{rule['id']}.{kind}").write_bytes(body)
        info = {
            "id": "x",
            "rule_metadata": [{"id": rule["id"], "title": rule["title"]}],
            "regression_tests_info": [
                {
                    "name": "Positive",
                    "type": "evtx" if binary else kind,
                    "match_count": wanted,
                    "path": str((data / name).relative_to(self.root)),
                }
            ],
        }
        (data / "info.yml").write_text(yaml.safe_dump(info))

    def regress(self, *options: str) -> Result:
        return CliRunner().invoke(program, ["regress", str(self.root), *options])


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_events_match_as_their_authors_documented(checkout: Checkout) -> None:
    # Given rules on fields of an event's body, of its head, deep in it, and of another source
    encoded = {
        "s": {"Image|endswith": "\\pwsh.exe", "CommandLine|contains": " -enc "},
        "condition": "s",
    }
    checkout.has(
        rule(ENCODED, encoded, product="windows", category="process_creation"),
        windows(1, {"EventData": {"Image": "C:\\pwsh.exe", "CommandLine": "pwsh -ENC aGk="}}),
        binary=True,
    )
    script = {
        "s": {"EventID": 4104, "Provider_Name": "our-provider"},
        "k": ["mimi"],
        "condition": "s and k",
    }
    checkout.has(
        rule(SCRIPT, script, product="windows", service="powershell"),
        windows({"#text": 4104}, {"EventData": {"Data": {"#text": ["a", "run MIMI now"]}}}),
    )
    service = {"s": {"ServiceName|startswith": "evil"}, "condition": "s"}
    checkout.has(
        rule(SERVICE, service, product="windows", service="system"),
        windows(7045, {"UserData": {"EventXML": {"ServiceName": "Evil1"}}}),
        windows(7045, {"UserData": {"EventXML": {"ServiceName": "Evil2"}}}),
        windows(7045, {"UserData": {"EventXML": {"ServiceName": "good"}}}),
        kind="ndjson",
        wanted=2,
    )
    cloud = {"s": {"eventName": "DeleteTrail", "userIdentity.type": "Root"}, "condition": "s"}
    checkout.has(
        rule(CLOUD, cloud, product="aws", service="cloudtrail"),
        {"eventName": "DeleteTrail", "userIdentity": {"type": "Root"}},
    )
    # when the set is checked
    result = checkout.regress("--strict")
    # then all is as it says
    assert result.exit_code == 0, result.output
    assert (
        "4 tests of 4 rules: 4 match, 0 differ, 0 cannot be read, 0 of skipped rules"
        in result.output
    )


def test_what_differs_is_named_and_what_cannot_be_used_is_counted(checkout: Checkout) -> None:
    # Given a rule that does not match, one beyond this engine, and a binary log alone
    quiet = {"s": {"Image": "x"}, "condition": "s"}
    checkout.has(rule(ENCODED, quiet, product="windows"), windows(1, {"EventData": {"Image": "y"}}))
    ahead = {"s": {"Image|re": "(?=x)y"}, "condition": "s"}
    checkout.has(rule(LOOK, ahead, product="windows"), windows(1, {"EventData": {"Image": "y"}}))
    checkout.has(rule(SERVICE, quiet, product="windows"), binary=True)
    # when the set is checked
    result = checkout.regress()
    # then all are reported, and the first is the error
    assert result.exit_code == 1
    assert f"differs: {ENCODED} Positive: matches 0 times, not 1" in result.output
    assert f"left out: {LOOK} Positive: " in result.output
    assert "invalid perl operator: (?=" in result.output
    assert f"unreadable: {SERVICE} Positive: a binary log without" in result.output
    report = msgspec.json.decode(checkout.regress("--json").stdout)
    assert [result["outcome"] for result in report] == ["differs", "unreadable", "left_out"]


def test_a_directory_without_such_tests(checkout: Checkout) -> None:
    result = checkout.regress()
    assert result.exit_code == 1
    assert "regression_data: there is no info.yml in it" in result.output


def test_a_test_reads_nothing_outside_of_the_set(checkout: Checkout) -> None:
    checkout.has(rule(ENCODED, {"s": {"a": "b"}, "condition": "s"}, product="windows"), {"a": "b"})
    (info,) = checkout.root.rglob("info.yml")
    info.write_text(
        info.read_text().replace("path: regression_data", "path: ../../regression_data")
    )
    result = checkout.regress("--strict")
    assert result.exit_code == 1
    assert "is not inside of the rule set" in result.output


def test_a_description_without_tests_does_not_stop_the_others(checkout: Checkout) -> None:
    detection = {"s": {"a": "b"}, "condition": "s"}
    checkout.has(rule(ENCODED, detection, product="windows"), {"a": "b"})
    empty = checkout.root / "regression_data" / "a" / "info.yml"
    empty.parent.mkdir(parents=True)
    empty.write_text(f"rule_metadata: [{{id: {ENCODED}}}]\n")
    result = checkout.regress()
    assert result.exit_code == 0
    assert "2 tests of 1 rule: 1 match, 0 differ, 1 cannot be read" in result.stderr


def test_a_file_may_contain_several_formatted_json_documents(checkout: Checkout) -> None:
    detection = {"s": {"a": "b"}, "condition": "s"}
    checkout.has(rule(ENCODED, detection, product="windows"), {"a": "b"}, wanted=2)
    (sample,) = checkout.root.rglob(f"{ENCODED}.json")
    sample.write_text('{\n "a": "b"\n}\n{\n "a": "b"\n}\n')
    assert "1 match" in checkout.regress().stderr
    sample.write_text('{"a": "b"} {"a": "b"')
    assert "1 cannot be read" in checkout.regress().stderr
