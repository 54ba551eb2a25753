"""A real Prometheus that monitors the platform of the tests, and queries of it."""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
from monitoring.boards.__main__ import BOARDS
from src.tests.events import failed_login
from src.tests.platform import Platform, eventually

from auditflow_local.servers.prometheus import Prometheus

#: What Grafana would put in the places of its variables.
VARIABLES = {
    "$__rate_interval": "30s",
    "$__range": "1h",
    "$__interval": "1s",
    "$namespace": ".+",
    "$service": ".+",
}


def hurried(rules: Iterable[Path], folder: Path) -> list[Path]:
    """Copies of rule files for a history that is as long as a test: evaluated every second instead
    of every minute; and the ledger, which takes the least of three whole minutes, takes that of
    fifteen seconds. Everything else that they say stays as it is."""
    folder.mkdir(exist_ok=True)
    copies = []
    for file in rules:
        copy = folder / file.name
        text = re.sub(r"(?m)^(  interval:) .*$", r"\1 1s", file.read_text("utf-8"))
        copy.write_text(text.replace("[3m:1m]", "[15s:1s]"), "utf-8")
        copies.append(copy)
    return copies


def board_queries() -> dict[str, str]:
    """Every query of every board, by where it stands."""
    found = {}
    for board in BOARDS:
        for panel in board.panels:
            for legend, query in panel.queries.items():
                expr = query
                for name, value in VARIABLES.items():
                    expr = expr.replace(name, value)
                found[f"{board.uid}: {panel.title}: {legend}"] = expr
    return found


class Observatory:
    """Questions to a Prometheus."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._http = httpx.Client(base_url=prometheus.url, timeout=30)

    def close(self) -> None:
        self._http.close()

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The answer to an instant query."""
        answer = self._http.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expr: str) -> float:
        """The greatest value; minus infinity when there is none."""
        return max((float(item["value"][1]) for item in self.ask(expr)), default=float("-inf"))

    def rules(self, kind: str) -> list[dict[str, Any]]:
        """All rules of a kind ("record" or "alert")."""
        groups = self._http.get("/api/v1/rules", params={"type": kind}).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def silent_rules(self) -> set[str]:
        """Recording rules that have given nothing, or failed."""
        return {
            f"{rule['name']} {rule.get('labels', {})} {rule.get('lastError', '')}"
            for rule in self.rules("record")
            if rule["health"] != "ok"
            or not self.ask(_selector(rule["name"], rule.get("labels", {})))
        }

    def unanswered(self, queries: dict[str, str]) -> dict[str, str]:
        """Those of some queries that give nothing now."""
        return {panel: expr for panel, expr in queries.items() if not self.ask(expr)}

    def alerts(self, state: str) -> set[str]:
        """Alerts about this machine by their names."""
        asked = f'ALERTS{{alertstate="{state}", namespace="local"}}'
        return {item["metric"]["alertname"] for item in self.ask(asked)}

    def burning(self) -> set[str]:
        """Alerts about objectives that fire."""
        asked = 'ALERTS{alertstate="firing", sloth_severity!="", namespace="local"}'
        return {item["metric"]["alertname"] for item in self.ask(asked)}

    def sees_all(self) -> bool:
        """Whether all that is scraped has answered twice, and answers now."""
        asked = 'sum_over_time(up{namespace="local"}[1h]) * up'
        found = self.ask(asked)
        return len(found) >= 8 and all(float(item["value"][1]) >= 2 for item in found)


def _selector(name: str, labels: dict[str, str]) -> str:
    pairs = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"


class Traffic:
    """Sources that send attacks, and people who look at the alerts, until told to stop."""

    def __init__(self, platform: Platform, name: str) -> None:
        self._platform = platform
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)
        self.rounds = 0
        #: Requests by what they took (seconds), as their clients saw it.
        self.slowest = 0.0

    def run(self) -> None:
        platform = self._platform
        with platform.ingest() as source, platform.api() as program, platform.analyst() as person:
            while not self._stop.wait(0.05):
                self._round(source, program, person)
                self.rounds += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        self._thread.join()

    def wait_for_rounds(self, rounds: int) -> None:
        """Wait until this many more rounds have ended; fail when the thread has ended."""
        wanted = self.rounds + rounds
        eventually(
            lambda: self.rounds >= wanted or not self._thread.is_alive(), what="rounds of traffic"
        )
        assert self._thread.is_alive(), "the thread of the traffic has ended"

    def _round(self, source: httpx.Client, program: httpx.Client, person: httpx.Client) -> None:
        user = f"{self._name}-{self.rounds}"
        events = [failed_login(f"{user}-{number}", user, at=number) for number in range(3)]
        lines = b"\n".join(msgspec.json.encode(event) for event in events)
        with suppress(httpx.TransportError):  # what is broken may answer nothing at all
            source.post("/ingest/ndjson", content=lines)
        for client in (program, person):
            began = time.monotonic()
            with suppress(httpx.TransportError):
                client.get("/alerts")
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextmanager
def traffic(platform: Platform, name: str, *, rounds: int) -> Iterator[Traffic]:
    """Traffic while the block runs, and at least some rounds of it before."""
    item = Traffic(platform, name)
    item.start()
    try:
        item.wait_for_rounds(rounds)
        yield item
    finally:
        item.stop()
        item.join()
