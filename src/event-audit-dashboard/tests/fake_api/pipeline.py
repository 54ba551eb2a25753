"""The pipeline: queues, dead letters and the ledger; notifications; the audit trail."""

from typing import Any

import flask

from .state import Routes, State


class Pipeline:
    """Routes of the pipeline."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Routes:
        """Method, path and view of each route."""
        return (
            ("GET", "/api/v1/notifications", self._notifications),
            ("POST", "/api/v1/audit", self._audit),
            ("GET", "/rules/catalogue", lambda: {"rules": [], "exclusions": [], "matrix": []}),
            ("GET", "/api/v1/queues", self._queues),
            ("GET", "/api/v1/ledger", self._ledger),
            ("GET", "/api/v1/dead-letters/<queue>", self._dead_letters),
            ("GET", "/api/v1/dead-letters/<queue>/<key>", self._dead_letter),
            ("POST", "/api/v1/dead-letters/<queue>/<action>", self._change_dead_letters),
        )

    def _queues(self) -> Any:
        if self._state.letters is None:
            return {"title": "Not Found", "status": 404, "detail": "RABBITMQ_OPERATOR_PASS"}, 404
        return {
            "queues": [
                {"name": "audit_events", "messages": 7, "consumers": 1, "dead_letters": 2},
                {"name": "audit_alerts", "messages": 0, "consumers": 0, "dead_letters": 0},
            ]
        }

    def _dead_letters(self, queue: str) -> Any:
        found = self._state.letters or []
        return {
            "queue": queue,
            "total": len(found),
            "examined": len(found),
            "reasons": [{"reason": "not JSON", "count": len(found)}],
            "letters": found,
        }

    def _dead_letter(self, queue: str, key: str) -> Any:
        letter = next(item for item in self._state.letters or [] if item["key"] == key)
        return {"queue": queue, "letter": letter, "headers": {}, "body": letter["beginning"]}

    def _change_dead_letters(self, queue: str, action: str) -> Any:
        self._state.dead_letter_requests.append((action, flask.request.get_json()))
        return {"changed": 1, "left": 1, "complete": True}

    def _ledger(self) -> Any:
        if self._state.ledger is None:
            return {"title": "Not Found", "status": 404}, 404
        return self._state.ledger

    def _notifications(self) -> Any:
        return {"notifications": [], "next_after": None}

    def _audit(self) -> Any:
        reports = flask.request.get_json()["reports"]
        self._state.reports.extend(reports)
        return {"stored": len(reports)}
