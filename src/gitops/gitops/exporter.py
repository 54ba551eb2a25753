"""Serves the DORA metrics and the drift of a cluster to Prometheus. Runs in the image of Python.

Another container of the pod writes the history of the main branch to files (``history_files``).
The Applications of Argo CD state which deployments ran and were Healthy, and which resources differ
from git. It uses only the standard library.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from gitops import dora, drift, history_files, kubernetes_api
from gitops.errors import GitOpsError
from gitops.kubernetes_api import KubernetesApi, RequestError

_PERIOD_SECONDS: Final = 30 * 24 * 3600.0
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Settings:
    """The settings, from environment variables."""

    kubernetes: str
    namespace: str
    environment: str
    folder: Path
    port: int

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises GitOpsError: a variable is missing or not a number."""
        try:
            return cls(
                kubernetes=kubernetes_api.address(
                    environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
                ),
                namespace=environ.get("ARGO_CD_NAMESPACE", "argocd"),
                environment=environ.get("ENVIRONMENT", "prod"),
                folder=Path(environ.get("HISTORY_FOLDER", "/var/lib/history")),
                port=int(environ.get("METRICS_PORT", "9464")),
            )
        except (KeyError, ValueError) as error:
            raise GitOpsError(f"invalid settings: {error}") from None


def render(settings: Settings, applications: dict[str, Any], now: float) -> str:
    """The metrics of the last 30 days, in the text format of Prometheus.

    ``now`` is in seconds since 1970.

    Raises:
        GitOpsError: the files or the Applications are not valid, or the files do not exist yet.
    """
    try:
        commits = history_files.commits((settings.folder / "commits").read_text("utf-8"))
        patches = (settings.folder / "pins").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GitOpsError(f"the history is not available: {error}") from None
    history = history_files.deployments(patches, commits, settings.environment)
    services = drift.services(applications, settings.environment)
    completed = dora.completed(history, services, history_files.contains(commits))
    measured = dora.measure(completed, start=now - _PERIOD_SECONDS, end=now)
    return dora.prometheus_text(settings.environment, measured) + drift.metrics(
        drift.read(applications)
    )


def server(
    address: tuple[str, int], collect: Callable[[], str], *, log: Callable[[str], object]
) -> ThreadingHTTPServer:
    """Return a server whose ``/metrics`` calls ``collect``. Its errors are the status 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer /metrics and /healthz."""
            status, text = HTTPStatus.OK, "ok\n"
            if self.path == "/metrics":
                try:
                    text = collect()
                except (GitOpsError, RequestError, OSError) as error:
                    log(str(error))
                    status, text = HTTPStatus.SERVICE_UNAVAILABLE, "see the log\n"
            elif self.path != "/healthz":
                status, text = HTTPStatus.NOT_FOUND, "not found\n"
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no line for each request."""

    return ThreadingHTTPServer(address, Handler)


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> None:
    """Serve the metrics until the process is stopped."""
    try:
        settings = Settings.read(os.environ)
    except GitOpsError as error:
        sys.exit(str(error))
    cluster = KubernetesApi(settings.kubernetes)

    def collect() -> str:
        return render(settings, cluster.applications(settings.namespace), time.time())

    server(("", settings.port), collect, log=_log).serve_forever()


if __name__ == "__main__":
    main()
