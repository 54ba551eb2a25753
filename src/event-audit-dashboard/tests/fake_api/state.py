"""The data that the server of the tests stores, and the requests that it received."""

import threading
from typing import Any

import flask

from .filters import matches
from .sample_alerts import dead_letter

#: Method, path and view of each route.
Routes = tuple[tuple[str, str, Any], ...]


class State:
    """The data of the server. Tests read and change it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Delete all data."""
        self.alerts: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self.bulk: dict[str, list[dict[str, Any]]] = {}
        self.mode = "ok"
        self.record_characters = 10
        self.role = "admin"
        #: Roles of persons who have another role than ``role``.
        self.roles: dict[str, str] = {}
        self.reports: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.letters: list[dict[str, Any]] | None = [dead_letter(0), dead_letter(1)]
        self.ledger: dict[str, Any] | None = None
        self.disabled: set[str] = set()
        #: Alerts of the sample that facets are estimated from.
        self.sampled: int | None = None
        self.roles_set: list[tuple[str, dict[str, Any]]] = []
        self.views: list[dict[str, Any]] = []
        self.factor: dict[str, Any] | None = None
        self.dead_letter_requests: list[tuple[str, dict[str, Any]]] = []
        self.released = threading.Event()

    def found(self, args: Any) -> list[dict[str, Any]]:
        """The alerts that match the filter of a request, the latest first."""
        return sorted(
            filter(lambda item: matches(item, args), self.alerts),
            key=lambda item: item["last_seen"],
            reverse=True,
        )

    def find(self, alert_id: str) -> dict[str, Any]:
        """The alert with an identifier. Without one, the answer is 404."""
        found = [item for item in self.alerts if item["alert_id"] == alert_id]
        return found[0] if found else flask.abort(404)
