"""The receiver of each alert, by amtool and the configuration of the cluster."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Route = Callable[..., list[str]]

#: Severities, and who is receivers beside AuditFlow itself.
PROD = {"page": ["page"], "ticket": ["ticket"], "info": []}


@pytest.fixture(scope="module")
def values(root: Path) -> dict[str, Any]:
    text = (root / "monitoring/values/prometheus-stack.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="module")
def route(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Route:
    if shutil.which("amtool") is None:
        pytest.skip("there is no amtool; Debian's package `prometheus-alertmanager` has it")
    configuration = yaml.safe_dump(values["alertmanager"]["config"])
    file = tmp_path_factory.mktemp("alertmanager") / "config.yml"
    # Debian's is of before addresses could be in files.
    file.write_text(configuration.replace("url_file: /", "url: http://a.example.com/"))
    checked = subprocess.run(
        ("amtool", "check-config", str(file)), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

    def ask(**labels: str) -> list[str]:
        command = ("amtool", "config", "routes", "test", f"--config.file={file}")
        done = subprocess.run(
            (*command, *(f"{name}={value}" for name, value in labels.items())),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip().split(",")

    return ask


@pytest.mark.parametrize("severity", PROD)
def test_each_alert_is_an_event_and_reaches_its_receivers(route: Route, severity: str) -> None:
    receivers = route(alertname="A", severity=severity, namespace="auditflow-prod")
    assert receivers == ["auditflow", *PROD[severity]]


def test_rules_in_trial_page_no_person(route: Route) -> None:
    for environment in ("dev", "staging", "qa"):
        receivers = route(alertname="A", severity="page", namespace=f"auditflow-{environment}")
        assert receivers == ["auditflow", "ticket"]


def test_the_cluster_itself_pages(route: Route) -> None:
    assert route(alertname="NodeNotReady", severity="page", node="n") == ["auditflow", "page"]
    assert route(alertname="A", severity="page", namespace="monitoring") == ["auditflow", "page"]


def test_the_heartbeat_is_no_event(route: Route) -> None:
    assert route(alertname="Watchdog", severity="none") == ["heartbeat"]


def test_every_alert_reaches_a_receiver(
    route: Route, alerts: dict[str, list[dict[str, Any]]]
) -> None:
    pairs = {
        (alert["alert"], alert["labels"]["severity"])
        for group in alerts.values()
        for alert in group
    }
    for name, severity in pairs:
        assert "nobody" not in route(alertname=name, severity=severity)


def test_no_address_and_no_secret_is_in_the_configuration(values: dict[str, Any]) -> None:
    for receiver in values["alertmanager"]["config"]["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            if "url" in webhook:
                assert webhook["url"].startswith("http://audit-event-generator-service.")
                assert "credentials_file" in webhook["http_config"]["authorization"]
            else:
                assert webhook["url_file"].startswith("/etc/alertmanager/receivers/")


def test_what_an_inhibition_names_is_there(
    values: dict[str, Any], alerts: dict[str, list[dict[str, Any]]]
) -> None:
    names = {alert["alert"] for group in alerts.values() for alert in group}
    for rule in values["alertmanager"]["config"]["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, _, value = matcher.partition(" ")
            if label == "alertname":
                assert set(value.split('"')[1].split("|")) <= names
