"""Queries of a real Prometheus that monitors the platform of the tests."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from monitoring.boards.__main__ import BOARDS

from auditflow_local.servers.prometheus import Prometheus

#: The values that replace Grafana's variables.
VARIABLES = {
    "$__rate_interval": "30s",
    "$__range": "1h",
    "$__interval": "1s",
    "$namespace": ".+",
    "$service": ".+",
}


def accelerated(rules: Iterable[Path], folder: Path) -> list[Path]:
    """Copies of rule files for a test, which is shorter than their time ranges.

    Rules are evaluated every second instead of every minute. The ledger uses the minimum of fifteen
    seconds instead of three minutes. Nothing else changes.
    """
    folder.mkdir(exist_ok=True)
    copies = []
    for file in rules:
        copy = folder / file.name
        text = re.sub(r"(?m)^(  interval:) .*$", r"\1 1s", file.read_text("utf-8"))
        copy.write_text(text.replace("[3m:1m]", "[15s:1s]"), "utf-8")
        copies.append(copy)
    return copies


def board_queries() -> dict[str, str]:
    """Each query of each board, by board, panel and legend."""
    queries = {}
    for board in BOARDS:
        for panel in board.panels:
            for legend, query in panel.queries.items():
                expr = query
                for name, value in VARIABLES.items():
                    expr = expr.replace(name, value)
                queries[f"{board.uid}: {panel.title}: {legend}"] = expr
    return queries


class PrometheusQueries:
    """Sends queries to a Prometheus server."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._http = httpx.Client(base_url=prometheus.url, timeout=60)

    def close(self) -> None:
        self._http.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query: a list of series."""
        response = self._http.post("/api/v1/query", data={"query": expr}).json()
        assert response["status"] == "success", f"{expr}: {response.get('error')}"
        result: list[dict[str, Any]] = response["data"]["result"]
        return result

    def value(self, expr: str) -> float:
        """The largest value; minus infinity if there is none."""
        return max((float(item["value"][1]) for item in self.query(expr)), default=float("-inf"))

    def rules(self, kind: str) -> list[dict[str, Any]]:
        """All rules of a kind ("record" or "alert")."""
        groups = self._http.get("/api/v1/rules", params={"type": kind}).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def rules_without_data(self) -> set[str]:
        """Recording rules that failed or have no data."""
        return {
            f"{rule['name']} {rule.get('labels', {})} {rule.get('lastError', '')}"
            for rule in self.rules("record")
            if rule["health"] != "ok"
            or not self.query(_selector(rule["name"], rule.get("labels", {})))
        }

    def queries_without_data(self, queries: dict[str, str]) -> dict[str, str]:
        """The given queries whose result is empty now."""
        return {panel: expr for panel, expr in queries.items() if not self.query(expr)}

    def alerts(self, state: str) -> set[str]:
        """Names of the alerts of the platform that have a state (pending or firing)."""
        expr = f'ALERTS{{alertstate="{state}", namespace="local"}}'
        return {item["metric"]["alertname"] for item in self.query(expr)}

    def firing_objectives(self) -> set[str]:
        """Names of the objectives (SLOs) whose alert fires."""
        expr = 'ALERTS{alertstate="firing", sloth_severity!="", namespace="local"}'
        return {item["metric"]["alertname"] for item in self.query(expr)}

    def has_scraped_all(self) -> bool:
        """Whether each target was scraped twice and is up now."""
        expr = 'sum_over_time(up{namespace="local"}[1h]) * up'
        targets = self.query(expr)
        return len(targets) >= 8 and all(float(item["value"][1]) >= 2 for item in targets)


def _selector(name: str, labels: dict[str, str]) -> str:
    pairs = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"
