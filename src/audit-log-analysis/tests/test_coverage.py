"""The chart of ATT&CK: what is committed is what the rules say."""

import json
import re
from pathlib import Path
from typing import Any

import audit_analysis
from audit_analysis.cli import show_coverage
from audit_analysis.ruletools import coverage
from audit_analysis.ruletools.coverage import Tagged

PACK = Path(audit_analysis.__file__).parent / "rules"
PUBLISHED = Path(__file__).parents[3] / "docs" / "rules"

GUESSING = Tagged("Guessing", "high", "okta okta", ("attack.credential-access", "attack.t1110.001"))
CLOUD = Tagged(
    "Cloud login", "low", "aws cloudtrail", ("attack.initial-access", "attack.t1078.004")
)
OTHER = Tagged("Something", "low", "gcp gcp.audit", ("attack.impact", "attack.t9999"))
BARE = Tagged("Bare", "low", "gcp gcp.audit", ())


def layer(*rules: Tagged) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(coverage.layer(coverage.chart(rules)))
    return loaded


def test_what_is_published_is_current() -> None:
    for name, text in show_coverage.documents(show_coverage.chart_of([PACK])).items():
        assert (PUBLISHED / name).read_text(encoding="utf-8") == text, (
            "run: auditflow rules coverage --write docs/rules"
        )


def test_a_technique_is_listed_under_the_tactics_of_its_rule() -> None:
    cells = layer(CLOUD)["techniques"]

    assert [(technique["techniqueID"], technique["tactic"]) for technique in cells] == [
        ("T1078.004", "initial-access")
    ], "the technique has four tactics, the rule is about one"


def test_the_more_rules_the_higher_the_score() -> None:
    cells = layer(GUESSING, Tagged("Other", "low", "linux auditd", GUESSING.tags))["techniques"]

    assert [technique["score"] for technique in cells] == [2]
    assert cells[0]["comment"] == "Guessing (okta okta, high)\nOther (linux auditd, low)"


def test_the_layer_is_of_the_navigators_format() -> None:
    document = layer(GUESSING, CLOUD, OTHER)

    assert document["versions"]["layer"] == "4.5"
    assert document["domain"] == "enterprise-attack"
    assert document["name"]
    for technique in document["techniques"]:
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", technique["techniqueID"])
        assert technique["tactic"] in {tactic.tag for tactic in coverage.tactics()}
    assert document["gradient"]["maxValue"] == 1
    assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in document["gradient"]["colors"])


def test_an_unknown_technique_keeps_its_number() -> None:
    [cell] = layer(OTHER)["techniques"]

    assert (cell["techniqueID"], cell["tactic"]) == ("T9999", "impact")


def test_the_page_links_to_what_it_names() -> None:
    page = coverage.page(coverage.chart([GUESSING, BARE]), layer="layer.json")

    assert "| [T1110.001](https://attack.mitre.org/techniques/T1110/001/) " in page
    assert "[layer.json](layer.json)" in page
    assert "Guessing (okta)" in page
    assert "## Rules without a technique\n\n- Bare (gcp)" in page
    assert "1 rules without a technique" in page
