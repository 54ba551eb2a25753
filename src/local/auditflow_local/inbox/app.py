"""The inbox as a web application: a signed webhook on one side, a page on the other."""

import base64
import binascii
import hashlib
import hmac
import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, render_template, request

#: Notifications that are kept, the newest ones.
KEPT: Final = 200
#: A signature is good for this long, before and after.
TOLERANCE_SECONDS: Final = 300
_MAX_BODY_BYTES: Final = 1024 * 1024
_HOSTS: Final = ("localhost", "127.0.0.1")


class Inbox:
    """The notifications in one file, one JSON document on each line, without repeats."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        self._kept: deque[dict[str, Any]] = deque(map(json.loads, lines), maxlen=KEPT)

    def add(self, notification: dict[str, Any]) -> bool:
        """Keep a notification. False: it is here already, and only came again."""
        with self._lock:
            if any(
                kept["notification_id"] == notification["notification_id"] for kept in self._kept
            ):
                return False
            self._kept.append(notification)
            fresh = self._file.with_suffix(".new")
            fresh.write_text("".join(json.dumps(kept) + "\n" for kept in self._kept), "utf-8")
            fresh.replace(self._file)
            return True

    def newest(self) -> list[dict[str, Any]]:
        """All that is kept, the newest first."""
        with self._lock:
            return list(reversed(self._kept))


def create(inbox: Inbox, key: bytes) -> Flask:
    """The application. ``key`` is the signing key of the webhook."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES

    @app.before_request
    def only_local() -> Response | None:
        # A page elsewhere must not read the inbox by a name that it made lead here.
        host = request.host.rpartition(":")[0] or request.host
        return None if host in _HOSTS else Response("unknown host\n", 421)

    @app.get("/")
    def page() -> Response:
        response = Response(render_template("inbox.html", notifications=inbox.newest()))
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/notifications.json")
    def as_json() -> Response:
        return Response(json.dumps(inbox.newest()), content_type="application/json")

    @app.post("/notifications")
    def receive() -> Response:
        body = request.get_data()
        wrong = verify(dict(request.headers), body, key)
        if wrong is not None:
            return Response(wrong + "\n", 401)
        try:
            notification = json.loads(body)
            known = not inbox.add({**notification, "received_at": time.strftime("%H:%M:%S")})
        except (ValueError, KeyError, TypeError):
            return Response("not a notification\n", 400)
        return Response("received before\n" if known else "received\n", 200)

    return app


def verify(headers: dict[str, str], body: bytes, key: bytes) -> str | None:
    """None when the request is signed (Standard Webhooks) and fresh, else what is wrong."""
    named = {name.lower(): value for name, value in headers.items()}
    try:
        identifier, timestamp = named["webhook-id"], named["webhook-timestamp"]
        shown = named["webhook-signature"].split(" ")
        age = abs(time.time() - int(timestamp))
    except (KeyError, ValueError):
        return "the signature is missing"
    signed = f"{identifier}.{timestamp}.".encode() + body
    wanted = hmac.digest(key, signed, hashlib.sha256)
    for signature in shown:
        version, _, text = signature.partition(",")
        try:
            given = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        if version == "v1" and hmac.compare_digest(given, wanted):
            return None if age <= TOLERANCE_SECONDS else "the signature is too old"
    return "the signature is wrong"
