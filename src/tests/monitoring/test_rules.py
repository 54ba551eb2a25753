"""The Prometheus rules are current and valid, and each alert fires exactly when it must."""

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


def test_generated_rules_are_current(make_rules: ModuleType) -> None:
    names = make_rules.sources()
    assert names
    for folder in (make_rules.RULES, make_rules.RULES / "objects"):
        files = {file.stem: file for file in folder.glob("*.yaml")}
        files.pop("kustomization", None)
        assert files.keys() == names.keys(), "run `make rules`"
        for name, file in files.items():
            assert make_rules.is_current(file, names[name]), f"{file}: run `make rules`"


def test_generated_rules_match_the_output_of_sloth(make_rules: ModuleType) -> None:
    if not make_rules.program().exists():
        pytest.skip("sloth is not built; `make rules` builds it in some minutes")
    for file, text in make_rules.generated().items():
        assert file.read_text() == text, f"{file}: run `make rules`"


def test_promtool_accepts_the_rules(promtool: str) -> None:
    files = sorted((ROOT / "monitoring/rules").glob("*.yaml"))
    process = subprocess.run(
        (promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, files)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_pass_their_rule_tests(promtool: str, file: Path) -> None:
    process = subprocess.run(
        (promtool, "test", "rules", str(file)), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_every_alert_has_a_firing_and_a_silent_test_case(
    make_rules: ModuleType, alerts: ALERTS
) -> None:
    for topic, rules in alerts.items():
        source = make_rules.sources()[topic]
        file = source.with_name(f"{source.stem}_tests.yaml")
        tests = yaml.safe_load(file.read_text())["tests"]
        for rule in rules:
            wanted = rule["alert"], rule["labels"]["severity"]
            results = [wanted in fired for test in tests for fired in expectations(test)]
            assert any(results), f"{file}: no test case in which {wanted} fires"
            if wanted != ("Watchdog", "none"):  # it always fires
                assert not all(results), f"{file}: no test case in which {wanted} is silent"


def expectations(test: dict[str, Any]) -> list[set[tuple[str, str]]]:
    """The alerts that must fire at each evaluation time of a test."""
    by_time = [
        {
            (found[1], found[2])
            for sample in expression["exp_samples"]
            if (found := re.search(r'alertname="(\w+)", severity="(\w+)"', sample["labels"]))
        }
        for expression in test.get("promql_expr_test", [])
        if "ALERTS" in expression["expr"]
    ]
    return by_time + [
        {(case["alertname"], alert["exp_labels"]["severity"]) for alert in case["exp_alerts"]}
        for case in test.get("alert_rule_test", [])
    ]
