"""The rules are current, valid, and each fires when it must and is silent just below."""

import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TESTS = sorted((ROOT / "monitoring").glob("*/*_tests.yaml"))
ALERTS = dict[str, list[dict[str, Any]]]


def test_the_rules_are_those_of_their_sources(make_rules: ModuleType) -> None:
    names = make_rules.sources()
    assert names
    for folder in (make_rules.RULES, make_rules.RULES / "objects"):
        files = {file.stem: file for file in folder.glob("*.yaml")}
        files.pop("kustomization", None)
        assert files.keys() == names.keys(), "run `make rules`"
        for name, file in files.items():
            assert make_rules.is_current(file, names[name]), f"{file}: run `make rules`"


def test_they_are_what_sloth_makes(make_rules: ModuleType) -> None:
    if not make_rules.program().exists():
        pytest.skip("sloth is not built here; `make rules` does, in minutes")
    for file, text in make_rules.made().items():
        assert file.read_text() == text, f"{file}: run `make rules`"


def test_promtool_finds_no_fault(promtool: str) -> None:
    files = sorted((ROOT / "monitoring/rules").glob("*.yaml"))
    done = subprocess.run(
        (promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, files)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_must_and_no_sooner(promtool: str, file: Path) -> None:
    done = subprocess.run(
        (promtool, "test", "rules", str(file)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_to_be_silent(
    make_rules: ModuleType, alerts: ALERTS
) -> None:
    for topic, rules in alerts.items():
        source = make_rules.sources()[topic]
        file = source.with_name(f"{source.stem}_tests.yaml")
        tests = yaml.safe_load(file.read_text())["tests"]
        for rule in rules:
            wanted = rule["alert"], rule["labels"]["severity"]
            seen = [wanted in fired for test in tests for fired in expectations(test)]
            assert any(seen), f"{file}: nothing makes {wanted} fire"
            if wanted != ("Watchdog", "none"):  # it barks always
                assert not all(seen), f"{file}: nothing keeps {wanted} silent"


def expectations(test: dict[str, Any]) -> list[set[tuple[str, str]]]:
    """Which alerts are to fire, at each moment that a test looks at."""
    moments = [
        {
            (found[1], found[2])
            for sample in one["exp_samples"]
            if (found := re.search(r'alertname="(\w+)", severity="(\w+)"', sample["labels"]))
        }
        for one in test.get("promql_expr_test", [])
        if "ALERTS" in one["expr"]
    ]
    return moments + [
        {(one["alertname"], alert["exp_labels"]["severity"]) for alert in one["exp_alerts"]}
        for one in test.get("alert_rule_test", [])
    ]
