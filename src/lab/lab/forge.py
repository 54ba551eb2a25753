"""A fake of the forge's HTTP API: pull requests, commit statuses and dispatched events.

It answers the requests that Argo CD, its notifications and the promoter send, in GitHub's format.
Argo CD asks with the prefix of a GitHub Enterprise server, ``/api/v3``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PORT = 9081
_ENTERPRISE = "/api/v3"


@dataclass
class Forge:
    """The state of the fake. Each request needs the token."""

    token: str = "token-of-the-fake-forge"
    pulls: list[dict[str, Any]] = field(default_factory=list)
    #: Bodies of ``POST /repos/OWNER/REPO/statuses/COMMIT``, by commit.
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: Bodies of ``POST /repos/OWNER/REPO/dispatches``.
    dispatches: list[dict[str, Any]] = field(default_factory=list)
    #: Requests without an answer: method, path and status.
    refused: list[str] = field(default_factory=list)

    def open(self, number: int, *, branch: str, commit: str, labels: tuple[str, ...]) -> None:
        """Open a pull request to main."""
        self.pulls.append(
            {
                "number": number,
                "title": f"Pull request {number}",
                "state": "open",
                "head": {"ref": branch, "sha": commit},
                "base": {"ref": "main"},
                "labels": [{"name": label} for label in labels],
                "user": {"login": "author"},
            }
        )

    def close(self, number: int) -> None:
        """Close a pull request."""
        self.pulls = [pull for pull in self.pulls if pull["number"] != number]

    def answer(self, method: str, path: str, body: Any) -> tuple[HTTPStatus, Any]:
        """Return the status and the body of the answer to a request of an authorized client."""
        match method, path.removeprefix(_ENTERPRISE).strip("/").split("/"):
            case "GET", ["repos", _, _, "pulls"]:
                return HTTPStatus.OK, self.pulls
            case "POST", ["repos", _, _, "statuses", commit]:
                self.statuses.setdefault(commit, []).append(body)
                return HTTPStatus.CREATED, body
            case "POST", ["repos", _, _, "dispatches"]:
                self.dispatches.append(body)
                return HTTPStatus.NO_CONTENT, None
        return HTTPStatus.NOT_FOUND, {"message": "Not Found"}


@contextmanager
def serving(forge: Forge, address: str, port: int = PORT) -> Iterator[str]:
    """Serve the fake until the end of the block. Yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            path = urlsplit(self.path).path
            if self.headers.get("Authorization") != f"Bearer {forge.token}":
                answered = (HTTPStatus.UNAUTHORIZED, {"message": "Bad credentials"})
            else:
                body = json.loads(content) if content else None
                answered = forge.answer(self.command, path, body)
            status, answer = answered
            if status >= HTTPStatus.BAD_REQUEST:
                forge.refused.append(f"{self.command} {path}: {status.value}")
            text = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer((address, port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
