"""Reads of alerts: lists, facets, one alert with its events, history and route."""

import base64
import datetime as dt
from collections import Counter
from typing import Any

import flask

from auditflow.contract import text_filter

from .sample_alerts import events, findings, stamp
from .state import Routes, State


class AlertReads:
    """Routes that read alerts."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Routes:
        """Method, path and view of each route."""
        return (
            ("GET", "/api/v1/alerts", self._list),
            ("GET", "/api/v1/alerts/facets", self._facets),
            ("GET", "/api/v1/alerts/<alert_id>", self._get),
            ("GET", "/api/v1/alerts/<alert_id>/events", self._events),
            ("GET", "/api/v1/alerts/<alert_id>/event", self._event),
            ("GET", "/api/v1/alerts/<alert_id>/history", self._history),
            ("GET", "/api/v1/alerts/<alert_id>/route", self._route),
            ("GET", "/api/v1/rules/statistics", self._rule_statistics),
        )

    def _list(self) -> Any:
        args = flask.request.args
        cursor = args.get("cursor", "")
        try:
            start = int(base64.urlsafe_b64decode(cursor)) if cursor else 0
        except ValueError:
            return {
                "title": "Bad cursor",
                "status": 400,
                "detail": "cursor: not one of <ours>",
            }, 400
        found = self._state.found(args)
        limit = int(args["limit"])
        more = start + limit < len(found)
        response = flask.jsonify(
            alerts=found[start : start + limit],
            next_cursor=base64.urlsafe_b64encode(b"%d" % (start + limit)).decode()
            if more
            else None,
        )
        response.add_etag()
        return response.make_conditional(flask.request)

    def _facets(self) -> Any:
        found = self._state.found(flask.request.args)

        titles = {item["rule"]["id"]: item["title"] for item in found}

        def count(values: list[str]) -> list[dict[str, Any]]:
            counted = Counter(values).most_common()
            return [{"value": value, "count": number} for value, number in counted]

        return {
            "total": len(found),
            "status": count([item["status"] for item in found]),
            "level": count([item["level"] for item in found]),
            "rule": [
                {**value, "label": titles[value["value"]]}
                for value in count([item["rule"]["id"] for item in found])
            ],
            "assignee": count([item["assignee"] or "" for item in found]),
            "actor": [
                {**value, "filter": text_filter.exact(value["value"])}
                for value in count([item["actor"] for item in found if item["actor"]])
            ],
            "technique": [{"value": "T1110", "count": len(found)}] if found else [],
            "sampled": self._state.sampled,
        }

    def _get(self, alert_id: str) -> Any:
        item = self._state.find(alert_id)
        allowed = ["assign", "comment", "resolve", "snooze", "unsnooze"]
        allowed += ["acknowledge"] if item["status"] == "open" else ["reopen"]
        return {
            **item,
            "findings": findings(item),
            "findings_total": item["finding_count"],
            "allowed_actions": allowed,
        }

    def _events(self, alert_id: str) -> Any:
        return {"events": events(self._state.find(alert_id)), "next_cursor": None}

    def _event(self, alert_id: str) -> Any:
        item, event_id = self._state.find(alert_id), flask.request.args["event_id"]
        row = next(row for row in events(item) if row["event_id"] == event_id)
        return {**row, "note": item["title"], "large": "x" * self._state.record_characters}

    def _history(self, alert_id: str) -> Any:
        entries = [entry for entry in self._state.history if entry["alert_id"] == alert_id]
        return {"entries": entries[::-1], "next_before": None}

    def _route(self, alert_id: str) -> Any:
        item = self._state.find(alert_id)
        labels = {"rule": item["rule"]["id"], "level": item["level"]}
        labels |= {f"entity.{name}": value for name, value in item["entity"].items()}
        route: dict[str, Any] = {"receiver": "chat", "on_call": None, "matchers": [], "group": {}}
        return {"labels": labels, "routes": [route], "hidden_by": None}

    def _rule_statistics(self) -> Any:
        activity = [
            {"rule": rule, "title": rule, "alerts": number, "daily": [number]}
            for rule, number in Counter(item["rule"]["id"] for item in self._state.alerts).items()
        ]
        first_day = stamp(dt.datetime.now(dt.UTC))
        return {"days": 1, "first_day": first_day, "rules": activity}
