"""The stack with real servers, and small programs in place of the services."""

import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from auditflow_local import ports, services, status
from auditflow_local.errors import StartError
from auditflow_local.identity import Identity
from auditflow_local.layout import PORTS, Choices, Layout
from auditflow_local.polling import eventually
from auditflow_local.progress import Progress
from auditflow_local.servers.prometheus import Prometheus, rule_files
from auditflow_local.services import SERVICES
from auditflow_local.stack import Stack
from auditflow_local.testing import MakeService

#: Answers every request with 200, its environment and the names of its secrets.
STAND_IN = """\
#!{python}
import http.server, json, os, sys
from pathlib import Path

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        files = Path(os.environ["SECRETS_DIR"]).iterdir()
        received = {{"environment": dict(os.environ), "secrets": sorted(f.name for f in files)}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(received).encode())

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(
    (os.environ["HOST"], int(os.environ["PORT"])), Handler
).serve_forever()
"""
MIGRATION = """\
#!{python}
import os, psycopg2
from pathlib import Path

password = Path(os.environ["SECRETS_DIR"], "PG_PASSWORD").read_text().strip()
connection = psycopg2.connect(
    host=os.environ["PG_HOST"], port=os.environ["PG_PORT"], user=os.environ["PG_USER"],
    dbname=os.environ["PG_DB"], password=password,
)
with connection:
    connection.cursor().execute("CREATE TABLE made (by text)")
connection.close()
print("migrated as", os.environ["PG_USER"])
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that replace the console scripts of the services."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in services.BY_NAME:
        text = MIGRATION if name == services.MIGRATION.name else STAND_IN
        program = folder / name
        program.write_text(text.format(python=sys.executable))
        program.chmod(0o755)
    python = folder / "python"  # the demo receiver is a module
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return folder


@pytest.fixture
def stack(tmp_path: Path, stand_ins: Path, servers_folder: Path) -> Iterator[Stack]:
    """A stack on free ports that has not started yet."""
    choices = Choices(ports={choice.name: ports.pick() for choice in PORTS})
    layout = Layout(servers_folder / f"stack {tmp_path.name}")
    stack = Stack(layout, choices, Progress(Console(quiet=True)))
    yield stack
    stack.stop()
    for server in (*stack.servers, *stack.monitoring):
        server.destroy()


def get_json(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def _scrapes(prometheus: Prometheus, jobs: set[str]) -> bool:
    """Return whether Prometheus scrapes the jobs. It needs some seconds after its start."""
    targets = get_json(f"{prometheus.url}/api/v1/targets?state=active")["data"]["activeTargets"]
    return jobs <= {target["labels"]["job"] for target in targets}


def test_the_stack_starts_restarts_killed_components_and_stops(stack: Stack) -> None:
    # given the stack
    stack.start()

    # then everything is ready, the owner migrated the database, and the operator's file is complete
    rows = status.rows(stack.layout, stack.choices.ports)
    assert {row.name: row.state for row in rows} == dict.fromkeys(
        (
            *("rabbitmq", "postgres", "redis"),
            *(service.name for service in SERVICES),
            *(server.name for server in stack.monitoring),
        ),
        "ready",
    )
    migration = stack.layout.log("notification-service-migrate").read_text()
    assert migration == "migrated as auditflow_owner\n"
    assert "RABBITMQ_USER=auditflow-operator\n" in stack.layout.environment.read_text()

    # and each service has only its own secrets, and none in its environment
    received = {service.name: get_json(service.url) for service in stack.services}
    assert {name: values["secrets"] for name, values in received.items()} == {
        "audit-event-generator": ["INGEST_TOKEN", "RABBITMQ_PASS"],
        "audit-event-archive": ["PG_PASSWORD", "RABBITMQ_PASS"],
        "audit-log-analysis": ["RABBITMQ_PASS", "REDIS_PASSWORD"],
        "notification-service": [
            "API_TOKEN",
            "AUDIT_LOG_KEY",
            "PG_PASSWORD",
            "RABBITMQ_OPERATOR_PASS",
            "RABBITMQ_PASS",
        ],
        "event-audit-dashboard": [
            "API_TOKEN",
            "DASHBOARD_PASSWORD",
            "REDIS_PASSWORD",
            "SESSION_SECRET",
        ],
    }
    values = {file.read_text().strip() for file in stack.layout.secrets.iterdir()}
    for answer in received.values():
        assert not values & set(answer["environment"].values())
    assert received["notification-service"]["environment"]["PG_USER"] == "auditflow_app"
    assert received["audit-event-generator"]["environment"]["GENERATOR_RATE"] == "2"

    # and Prometheus, if it is installed, has loaded the rules and scrapes all targets
    for server in stack.monitoring:
        if isinstance(server, Prometheus):
            groups = get_json(f"{server.url}/api/v1/rules")["data"]["groups"]
            assert {Path(group["file"]) for group in groups} == set(rule_files())
            expected = {"rabbitmq", "prometheus", *(service.name for service in SERVICES)}
            eventually(partial(_scrapes, server, expected), what="a scrape of each job")

    # when a service and a server are killed, then they are restarted
    stack.watch()
    killed = {component: component.pid for component in (stack.services[0], stack.redis)}
    for pid in killed.values():
        identity = Identity.of(pid or 0)
        assert identity is not None
        identity.signal(signal.SIGKILL)
    eventually(
        lambda: all(
            component.pid not in {None, pid} and component.ready()
            for component, pid in killed.items()
        ),
        what="the restart",
    )

    # and after a stop, no process runs and all ports are free
    pids = [service.pid for service in stack.services]
    pids += [server.pid for server in (*stack.servers, *stack.monitoring)]
    stack.stop()
    assert not any(Identity.of(pid or 0) for pid in pids)
    assert all(ports.is_free(port) for port in stack.choices.ports.values())


def test_a_service_is_started_for_a_test(
    service_process: MakeService, stand_ins: Path, service_secrets: dict[str, str]
) -> None:
    # given a dashboard that needs an API
    api = service_process("event-audit-dashboard")
    dashboard = service_process("event-audit-dashboard", api=api, env={"EXTRA": "1"})

    # then its environment contains the address of the API
    environment = get_json(dashboard.url)["environment"]
    assert environment["NOTIFICATION_SERVICE_PORT"] == str(api.port)
    assert environment["EXTRA"] == "1"
    assert len(service_secrets["API_TOKEN"]) >= 40

    # and it can be killed and started again
    dashboard.kill()
    assert not dashboard.alive()
    assert dashboard.exit_code == -signal.SIGKILL
    dashboard.start()
    assert dashboard.ready()


def test_the_error_of_a_failed_start_contains_the_log(
    service_process: MakeService, stand_ins: Path
) -> None:
    program = stand_ins / "event-audit-dashboard"
    program.write_text("#!/bin/sh\necho 'SESSION_SECRET: is not set' >&2\nexit 2\n")
    with pytest.raises(StartError, match=r"ended with code 2(.|\n)*SESSION_SECRET: is not set"):
        service_process("event-audit-dashboard")
