"""The promoter, with servers that answer like Kubernetes, Prometheus and the forge."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gitops import promoter
from gitops.kubernetes_api import RequestError
from gitops.promoter import Promoter, PromoterError, Settings

SOAK, PERIOD = 120.0, 60.0


class Server:
    """All three servers in one."""

    def __init__(self) -> None:
        self.applications: list[dict[str, Any]] = []
        self.config_maps: dict[str, dict[str, Any]] = {}
        self.dispatches: list[dict[str, Any]] = []
        #: Firing alerts of objectives: severity and namespace. None: Prometheus does not answer.
        self.burning: list[tuple[str, str]] | None = []
        self.forge_status = 204
        self.headers: list[str | None] = []

    def count_alerts(self, path: str) -> tuple[int, Any]:
        """Count the firing alerts that a query selects, as Prometheus does."""
        if self.burning is None:
            return 503, {}
        (query,) = parse_qs(urlsplit(path).query)["query"]
        selected = dict(re.findall(r'(\w+)="([^"]*)"', query))
        found = [
            alert
            for alert in self.burning
            if alert == (selected["sloth_severity"], selected["namespace"])
        ]
        return 200, {"data": {"result": [{"value": [0, str(len(found))]}]}}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/applications"):
            return 200, {"items": self.applications}
        if path.startswith("/api/v1/query?"):
            return self.count_alerts(path)
        if path == "/repos/owner/name/dispatches":
            if self.forge_status == 204:
                self.dispatches.append(body)
            return self.forge_status, {}
        name = path.rpartition("/")[2]
        if method == "POST":
            name = body["metadata"]["name"]
        elif name not in self.config_maps:
            return 404, {}
        if body is not None:
            self.config_maps[name] = body
        return 200, self.config_maps[name]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def settings(server: Server, tmp_path: Path) -> Iterator[Settings]:
    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            server.headers.append(self.headers.get("Authorization"))
            status, answer = server.answer(self.command, self.path, body)
            content = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = handle_request  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}"
    (tmp_path / "token").write_text("secret\n")
    yield Settings(
        environments=("dev",), kubernetes=url, namespace="argocd", prometheus=url, forge=url,
        repository="owner/name", soak_seconds=SOAK, period_seconds=PERIOD,
        token_file=tmp_path / "token", account=tmp_path,
    )  # fmt: skip
    http.shutdown()
    thread.join()
    http.server_close()


def application(at: int, *, deployment: int = 1, health: str = "Healthy") -> dict[str, Any]:
    minutes, seconds = divmod(at, 60)
    return {
        "metadata": {"name": "dev-redis"},
        "spec": {"project": "auditflow-dev"},
        "status": {
            "sync": {"status": "Synced", "revision": f"commit-{deployment}"},
            "health": {"status": health},
            "operationState": {"phase": "Succeeded"},
            "history": [{"id": 0}, {"id": deployment}],
            "reconciledAt": f"1970-01-01T00:{minutes:02}:{seconds:02}Z",
        },
    }


def observe(server: Server, settings: Settings, *times: int, **changes: Any) -> list[str]:
    lines = []
    for at in times:
        server.applications = [application(at, **changes)]
        # A new object each time: the state is in the cluster only.
        lines.append(Promoter(settings).run_once("dev", float(at)))
    return lines


def test_healthy_environment_is_promoted_once(server: Server, settings: Settings):
    lines = observe(server, settings, 0, 60, 120, 180)
    assert lines == [
        "dev: soaks for 120 s more",
        "dev: soaks for 60 s more",
        "dev: started the promotion of commit-1",
        "dev: already promoted",
    ]
    payload = {"environment": "dev", "revision": "commit-1"}
    assert server.dispatches == [{"event_type": "auditflow-synced", "client_payload": payload}]
    assert "Bearer secret" in server.headers


def test_new_deployment_soaks_again(server: Server, settings: Settings):
    observe(server, settings, 0, 60, 120)
    lines = observe(server, settings, 180, 240, 300, deployment=2)
    assert lines[-1] == "dev: started the promotion of commit-2"
    assert len(server.dispatches) == 2


def test_degraded_environment_waits(server: Server, settings: Settings):
    observe(server, settings, 0, 60)
    assert observe(server, settings, 120, health="Degraded") == [
        "dev: not synced and healthy: dev-redis"
    ]
    assert server.dispatches == []


@pytest.mark.parametrize("burning", [[("page", "auditflow-dev")], None])
def test_burning_objective_or_no_answer_stops_the_promotion(
    server: Server, settings: Settings, burning: list[tuple[str, str]] | None
):
    server.burning = burning
    observe(server, settings, 0, 60, 120, 180)
    assert server.dispatches == []


@pytest.mark.parametrize(
    "alert", [("page", "auditflow-prod"), ("page", "argocd"), ("ticket", "auditflow-dev")]
)
def test_objective_of_another_environment_or_a_ticket_does_not_stop_it(
    server: Server, settings: Settings, alert: tuple[str, str]
):
    server.burning = [alert]
    observe(server, settings, 0, 60, 120, 180)
    assert len(server.dispatches) == 1


def test_failed_dispatch_is_repeated(server: Server, settings: Settings):
    observe(server, settings, 0, 60)
    server.forge_status = 503
    with pytest.raises(RequestError, match="dispatches: status 503"):
        observe(server, settings, 120)
    server.forge_status = 204
    observe(server, settings, 121)
    assert len(server.dispatches) == 1


def test_applications_of_other_projects_do_not_count(server: Server, settings: Settings):
    server.applications = [application(0) | {"spec": {"project": "auditflow-prod"}}]
    assert Promoter(settings).run_once("dev", 0.0) == "dev: no Application was found"


def test_invalid_state_starts_the_soak_time_again(server: Server, settings: Settings):
    server.config_maps["promoter-dev"] = {"data": {"state": '{"unknown": 1}'}}
    assert observe(server, settings, 0) == ["dev: soaks for 120 s more"]


def test_unreachable_server_is_an_error(settings: Settings, tmp_path: Path):
    closed = Settings(**{**vars(settings), "kubernetes": "http://127.0.0.1:1"})
    with pytest.raises(RequestError, match="GET /api/v1/"):
        Promoter(closed).run_once("dev", 0.0)


def test_new_application_is_not_settled():
    app = promoter.parse_application({"metadata": {"name": "a"}, "spec": {}})
    assert not app.settled


def test_settings_name_the_missing_variable():
    with pytest.raises(PromoterError, match="KUBERNETES_SERVICE_HOST"):
        Settings.read({})
