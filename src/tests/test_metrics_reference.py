"""docs/reference/metrics.md lists exactly the metrics of the services."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from audit_analysis.archive.table import OTHER, PRODUCTS
from audit_event_generator.ingest.sources import LABELS
from auditflow_local.polling import eventually

from .events import failed_login
from .platform import Platform, ask

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
#: A table of the page by its heading, and the services that show it.
SECTIONS = {
    "Every service": ("generator", "analysis", "notification", "archive", "dashboard"),
    "Consumers": ("analysis", "notification"),
    "audit-event-generator": ("generator",),
    "audit-log-analysis": ("analysis",),
    "audit-event-archive": ("archive",),
    "notification-service": ("notification",),
    "event-audit-dashboard": ("dashboard",),
}
#: Labels whose values the page cannot list, with what they look like.
OPEN = {
    "service": r"[a-z-]+",
    "version": r"\d+(\.\d+)*",
    "revision": r"unknown|[0-9a-f]{40}",
    "route": r"/.*|none",
    "code": r"[1-5]xx",
    "queue": r"audit_(events|alerts)",
    "source": "|".join((*LABELS, *PRODUCTS, OTHER)),
    "scenario": r"[a-z_]+",
    "rule": r".+",
    "receiver": r"[a-z0-9-]+",
}


class Row:
    """One metric of the page."""

    def __init__(self, line: str) -> None:
        metric, self.type, labels, self.meaning = (
            cell.strip() for cell in line.strip("|").split("|")
        )
        self.name = metric.strip("`")
        self.labels: dict[str, set[str]] = {}
        for part in filter(None, labels.split("; ")):
            label, _, values = part.partition(":")
            name = label.strip("`")
            self.labels[name] = set() if name in OPEN else set(re.findall(r"`([^`]+)`", values))

    def buckets(self) -> list[float]:
        found = re.search(r"Buckets ([\d. ]+)", self.meaning)
        assert found, f"{self.name}: the page does not say its buckets"
        return [float(word) for word in found.group(1).split()]


def table(heading: str) -> dict[str, Row]:
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [Row(line) for line in section.splitlines() if line.startswith("| `auditflow_")]
    assert rows, f"{heading}: no table"
    return {row.name: row for row in rows}


def test_the_page_names_every_source() -> None:
    (line,) = (
        item for item in PAGE.read_text("utf-8").splitlines() if item.startswith("`source`:")
    )
    assert re.findall("`([^`]+)`", line)[1:] == list(LABELS)


@pytest.fixture
def used(platform: Platform) -> Platform:
    """The platform after a little of everything, so that metrics with labels show some."""
    platform.send([failed_login(f"seen-{number}", "alice", at=number) for number in range(5)])
    eventually(platform.alerts, what="an alert")
    ask(f"{platform.dashboard.url}/alerts")
    ask(f"{platform.analysis.url}/rules")
    return platform


def test_the_page_names_what_the_services_show(used: Platform) -> None:
    differences = []
    for name in SECTIONS["Every service"]:
        documented: dict[str, Row] = {}
        for heading, services in SECTIONS.items():
            if name in services:
                documented |= table(heading)
        text = ask(
            f"{getattr(used, name).url}/metrics",
            Accept="application/openmetrics-text; version=1.0.0",
        ).text
        shown = {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in text_string_to_metric_families(text)
            if family.name.startswith("auditflow_")
        }
        differences += [f"{name} shows {item}, untold" for item in shown.keys() - documented.keys()]
        differences += [
            f"{name} does not show {entry}" for entry in documented.keys() - shown.keys()
        ]
        for metric in shown.keys() & documented.keys():
            family, row = shown[metric], documented[metric]
            if family.type != row.type:
                differences.append(f"{metric} is a {family.type}, not a {row.type}")
            if family.type == "histogram" and family.samples:
                bounds = {float(s.labels["le"]) for s in family.samples if "le" in s.labels}
                if bounds != {*row.buckets(), float("inf")}:
                    differences.append(f"{metric} has the buckets {sorted(bounds)}")
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key != "le"}
                if labels.keys() != row.labels.keys():
                    differences.append(f"{metric} has the labels {sorted(labels)}")
                for label, value in labels.items():
                    known = row.labels.get(label) or set()
                    fits = value in known if known else re.fullmatch(OPEN.get(label, ""), value)
                    if not fits:
                        differences.append(f"{metric} has {label}={value!r}")
    assert differences == []


def with_exemplars(platform: Platform) -> set[str]:
    """The histograms of the notification service that lead to a trace."""
    text = ask(
        f"{platform.notification.url}/metrics",
        Accept="application/openmetrics-text; version=1.0.0",
    ).text
    return {
        family.name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar and len(sample.exemplar.labels["trace_id"]) == 32
    }


def test_latencies_lead_to_their_traces(used: Platform) -> None:
    wanted = {"auditflow_event_to_alert_seconds", "auditflow_http_request_duration_seconds"}
    eventually(lambda: wanted <= with_exemplars(used), what="exemplars")
