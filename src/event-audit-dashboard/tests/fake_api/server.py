"""The HTTP server, with the modes of its faults."""

import threading
from typing import Any
from urllib.parse import unquote

import flask
from werkzeug.serving import BaseWSGIServer, make_server

from .accounts import Accounts
from .alert_actions import AlertActions
from .alert_reads import AlertReads
from .pipeline import Pipeline
from .state import State

TOKEN = "token-of-the-tests"


class FakeApi(State):
    """The server. ``mode`` is ok, down (503), limited (429), garbage, html, slow, denied or broken."""

    def __init__(self) -> None:
        super().__init__()
        self._app = flask.Flask("fake API")
        self._app.before_request(self._before)
        self._app.add_url_rule("/healthz", view_func=lambda: {"status": "alive"}, endpoint="h")
        for group in (AlertReads(self), AlertActions(self), Accounts(self), Pipeline(self)):
            for method, rule, view in group.routes():
                self._app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
        self.port = 0
        self._server: BaseWSGIServer | None = None
        self.reset()

    def reset(self) -> None:
        """Delete all data and start the server."""
        self.clear()
        if self._server is None:
            self.start()

    def start(self) -> None:
        """Start the server, on its previous port if it had one."""
        self._server = make_server("127.0.0.1", self.port, self._app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    @property
    def last_query(self) -> dict[str, str]:
        """The last list request that was not only for its counts."""
        return [query for path, query, _ in self.requests if path == "/api/v1/alerts"][-1]

    def _before(self) -> Any:
        request = flask.request
        if request.path == "/healthz" or (self.mode == "ok" and request.path == "/rules/catalogue"):
            return None
        self.requests.append((request.path, request.args.to_dict(), dict(request.headers)))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" or self.mode == "denied":
            return {"title": "Unauthorized", "status": 401}, 401
        if unquote(request.headers.get("X-AuditFlow-User", "")) in self.disabled:
            return {"title": "Forbidden", "status": 403, "detail": "This person is disabled."}, 403
        match self.mode:
            case "down":
                return {"title": "Unavailable", "status": 503, "detail": "postgres is down"}, 503
            case "limited":
                return {"title": "Too Many Requests", "status": 429}, 429
            case "broken":
                return "Traceback (most recent call last)", 500
            case "garbage":
                return '{"alerts": [{"alert_id": 7}], "findings": 3}', 200
            case "html":
                return "<h1>hello</h1>", 200
            case "slow":
                self.released.wait(4)
        return None
