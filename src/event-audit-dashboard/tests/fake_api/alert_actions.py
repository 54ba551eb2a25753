"""Actions on alerts, and bulk actions with undo."""

import datetime as dt
import uuid
from typing import Any
from urllib.parse import unquote

import flask

from .sample_alerts import stamp
from .state import Routes, State


class AlertActions:
    """Routes that change alerts."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Routes:
        """Method, path and view of each route."""
        return (
            ("POST", "/api/v1/alerts/bulk", self._bulk),
            ("POST", "/api/v1/alerts/bulk/<bulk_id>/undo", self._undo_bulk),
            ("POST", "/api/v1/alerts/<alert_id>/<action>", self._act),
        )

    def _act(self, alert_id: str, action: str) -> Any:
        item, body = self._state.find(alert_id), flask.request.get_json()
        self._state.actions.append((action, body))
        match = flask.request.headers["If-Match"]
        if match not in {"*", f'"{item["triage_version"]}"'}:
            detail = "The alert has changed since it was read."
            return {"title": "Precondition Failed", "status": 412, "detail": detail}, 412
        if action == "acknowledge" and item["status"] != "open":
            detail = f"An alert that is {item['status']} does not allow the action {action}."
            return {"title": "Conflict", "status": 409, "detail": detail}, 409
        self._change(item, action, body)
        return item

    def _bulk(self) -> Any:
        body = flask.request.get_json()
        self._state.actions.append((body["action"], body))
        if body.get("filter") is not None:
            selected = self._state.found(body["filter"])
        else:
            selected = [self._state.find(alert_id) for alert_id in body["alert_ids"]]
        changed = [
            item for item in selected if body["action"] != "acknowledge" or item["status"] == "open"
        ]
        bulk_id = str(uuid.uuid4())
        self._state.bulk[bulk_id] = [dict(item) for item in changed]
        for item in changed:
            self._change(item, body["action"], body)
        failures = [
            {"alert_id": item["alert_id"], "reason": "It is not open."}
            for item in selected
            if item not in changed
        ]
        return {
            "bulk_id": bulk_id,
            "changed": len(changed),
            "failed": len(failures),
            "failures": failures,
        }

    def _undo_bulk(self, bulk_id: str) -> Any:
        before = self._state.bulk.pop(bulk_id)
        for state in before:
            self._state.find(state["alert_id"]).update(state)
        return {"bulk_id": bulk_id, "changed": len(before)}

    def _change(self, item: dict[str, Any], action: str, body: dict[str, Any]) -> None:
        before = dict(item)
        match action:
            case "acknowledge":
                item["status"] = "acknowledged"
            case "assign":
                item["assignee"] = body["assignee"]
            case "resolve":
                item |= {"status": "resolved", "verdict": body["verdict"]}
            case "reopen":
                item |= {"status": "open", "verdict": None}
            case "snooze":
                item["snoozed_until"] = body.get("until")
            case "undo":
                item |= self._state.bulk.pop(item["alert_id"])[0]
        if action != "undo":
            self._state.bulk[item["alert_id"]] = [before]
        item["triage_version"] += 1
        item["change_seq"] += 100_000
        self._state.history.append(
            {
                "number": len(self._state.history) + 1,
                "alert_id": item["alert_id"],
                "at": stamp(dt.datetime.now(dt.UTC)),
                "actor": unquote(flask.request.headers["X-AuditFlow-User"]),
                "actor_kind": "person",
                "action": action,
                "from_status": before["status"],
                "to_status": item["status"],
                "hash": "0" * 64,
                **{
                    key: value
                    for key, value in body.items()
                    if key in {"comment", "assignee", "verdict"}
                },
            }
        )
