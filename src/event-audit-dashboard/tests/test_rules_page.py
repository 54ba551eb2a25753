"""Runbooks, proposals of exclusions, and the page of a rule that is no longer in the files."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from auditflow.contract.alert import AlertSummary
from event_audit_dashboard.presentation import exclusions, sparkline
from event_audit_dashboard.runbooks import Runbooks, find_section, render

from .fake_api import alert

TEXT = """# Runbook

## Root login: ssh

**Look at** <script>alert(1)</script> and [this](javascript:alert(1)).

### Do

- Block the address.

## Other

Nothing.
"""


def judged(now: dt.datetime, verdict: str | None, **fields: Any) -> AlertSummary:
    item = {**alert(1, now=now), "client_ip": None, "resource": None, "verdict": verdict, **fields}
    return msgspec.convert(item, AlertSummary)


def test_a_section_of_a_runbook_is_found_and_rendered(tmp_path: Path) -> None:
    (tmp_path / "linux.md").write_text(TEXT)
    found = Runbooks(tmp_path).find("https://example.org/docs/linux.md#root-login-ssh")
    assert found is not None
    assert "<li>Block the address.</li>" in found
    assert "Nothing" not in found
    assert "<script" not in found
    assert "javascript:" not in found


@pytest.mark.parametrize(
    "address",
    [None, "", "https://example.org/other.md#x", "../../etc/passwd", "linux.md#missing", "//["],
)
def test_a_runbook_that_does_not_exist(tmp_path: Path, address: str | None) -> None:
    (tmp_path / "linux.md").write_text(TEXT)
    assert Runbooks(tmp_path).find(address) is None
    assert Runbooks(None).find("linux.md#other") is None


def test_without_an_anchor_the_complete_runbook_is_shown() -> None:
    assert find_section(TEXT, "") == TEXT
    assert "<h" not in render(TEXT)


def test_an_exclusion_matches_false_positives_and_no_true_positive(now: dt.datetime) -> None:
    alerts = [
        *(judged(now, "false_positive", actor="backup", server_hostname=f"h{n}") for n in (1, 2)),
        judged(now, "false_positive", actor="alice", server_hostname="h1"),
        judged(now, "true_positive", actor="alice", server_hostname="h2"),
        judged(now, None, actor="bob", server_hostname="h1"),
    ]
    proposals = exclusions.propose(alerts)
    assert proposals[0].selection == {"actor": "backup"}
    assert (proposals[0].false_positives, proposals[0].others) == (2, 0)
    both = [item.selection for item in exclusions.propose(alerts[2:4])]
    assert {"host": "h1"} in both
    assert {"actor": "alice"} not in both
    assert exclusions.propose(alerts[3:]) == []


def test_an_exclusion_is_valid_yaml_with_hostile_values() -> None:
    value = "x: [y]\n- '{{ z }}'"
    text = exclusions.write(
        {"actor": value},
        title="Guessing",
        rules=["r1"],
        logsource={"product": "auditflow"},
        owner="dana",
        reason="planned: #1",
        today=dt.date(2026, 1, 1),
    )
    document = yaml.safe_load(text)
    assert document["filter"]["selection"] == {"user_id": value}
    assert document["auditflow"]["expires"] == dt.date(2026, 4, 1)


def test_bars_of_a_sparkline() -> None:
    assert sparkline.bars([]) == []
    low, high = sparkline.bars([1, 0, 100])
    assert (low.x, low.height, high.x, high.height) == (0, 2.0, 8, 24)


def test_a_rule_that_was_removed_keeps_its_page(analyst: Any, many: Any) -> None:
    rule_id = many.alerts[0]["rule"]["id"]
    page = analyst.get("/rules/detail", query_string={"id": rule_id})
    assert page.status_code == 200
    assert "no longer in the rule files" in page.text
    missing = analyst.get("/rules/detail?id=unknown")
    assert (missing.status_code, "Not found" in missing.text) == (404, True)


def test_an_outage_of_the_analysis_leaves_the_statistics(make: Any, user: Any, many: Any) -> None:
    visitor = user(make(analysis_port=1))
    visitor.sign_in()
    page = visitor.get("/rules/detail", query_string={"id": many.alerts[0]["rule"]["id"]})
    assert page.status_code == 200
    assert "the analysis cannot be reached" in page.text
    assert visitor.get("/rules").status_code == 503
