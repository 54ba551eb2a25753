"""People: roles, second factors and saved views."""

import datetime as dt
import uuid
from typing import Any
from urllib.parse import unquote

import flask

from .sample_alerts import stamp
from .state import Routes, State


class Accounts:
    """Routes of people."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> Routes:
        """Method, path and view of each route."""
        return (
            ("GET", "/api/v1/me", self._me),
            ("GET", "/api/v1/users", self._users),
            ("PUT", "/api/v1/users", self._put_user),
            ("GET", "/api/v1/second-factor", self._second_factor),
            ("PUT", "/api/v1/second-factor", self._enable_second_factor),
            ("POST", "/api/v1/second-factor/steps", self._use_step),
            ("POST", "/api/v1/second-factor/recovery-codes", self._use_recovery_code),
            ("DELETE", "/api/v1/second-factor", self._delete_second_factor),
            ("GET", "/api/v1/views", self._views),
            ("POST", "/api/v1/views", self._save_view),
            ("DELETE", "/api/v1/views/<view_id>", self._delete_view),
        )

    def _me(self) -> Any:
        name = unquote(flask.request.headers["X-AuditFlow-User"])
        if name in self._state.disabled:
            return {"title": "Forbidden", "status": 403, "detail": "This person is disabled."}, 403
        role = self._state.roles.get(name, self._state.role)
        return {"name": name, "kind": "person", "role": role}

    def _users(self) -> Any:
        users = [{"name": name, "role": role} for name, role in sorted(self._state.roles.items())]
        return {"users": users}

    def _put_user(self) -> Any:
        name = flask.request.args["name"]
        self._state.roles_set.append((name, flask.request.get_json()))
        return {"name": name, "role": flask.request.get_json()["role"]}

    def _second_factor(self) -> Any:
        if unquote(flask.request.headers["X-AuditFlow-User"]) in self._state.disabled:
            return {"title": "Forbidden", "status": 403, "detail": "This person is disabled."}, 403
        if self._state.factor is None:
            return {"enabled": False}
        return {
            "enabled": True,
            "encrypted_secret": self._state.factor["encrypted_secret"],
            "recovery_codes": len(self._state.factor["hashes"]),
        }

    def _enable_second_factor(self) -> Any:
        if self._state.factor is not None:
            return {"title": "Conflict", "status": 409, "detail": "It is enabled already."}, 409
        body = flask.request.get_json()
        self._state.factor = {
            "encrypted_secret": body["encrypted_secret"],
            "hashes": set(body["recovery_hashes"]),
            "step": 0,
        }
        return self._second_factor()

    def _use_step(self) -> Any:
        step = flask.request.get_json()["step"]
        if self._state.factor is None or step <= self._state.factor["step"]:
            return {"title": "Conflict", "status": 409, "detail": "It was used."}, 409
        self._state.factor["step"] = step
        return self._second_factor()

    def _use_recovery_code(self) -> Any:
        used = flask.request.get_json()["hash"]
        if self._state.factor is None or used not in self._state.factor["hashes"]:
            return {"title": "Conflict", "status": 409, "detail": "There is none."}, 409
        self._state.factor["hashes"].remove(used)
        return self._second_factor()

    def _delete_second_factor(self) -> Any:
        if self._state.factor is None:
            return {"title": "Not Found", "status": 404, "detail": "There is none."}, 404
        self._state.factor = None
        return {"enabled": False}

    def _views(self) -> Any:
        name = unquote(flask.request.headers["X-AuditFlow-User"])
        return {
            "views": [view for view in self._state.views if view["shared"] or view["owner"] == name]
        }

    def _save_view(self) -> Any:
        self._state.views.append(
            {
                "view_id": str(uuid.uuid4()),
                "owner": unquote(flask.request.headers["X-AuditFlow-User"]),
                "created_at": stamp(dt.datetime.now(dt.UTC)),
                **flask.request.get_json(),
            }
        )
        return self._state.views[-1]

    def _delete_view(self, view_id: str) -> Any:
        view = next(view for view in self._state.views if view["view_id"] == view_id)
        self._state.views.remove(view)
        return view
