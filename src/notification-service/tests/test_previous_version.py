"""The version before the newest migration runs on the new schema, and the new version after it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from auditflow_local.servers.postgres import Database
from auditflow_local.service_process import ServiceProcess

ROOT = Path(__file__).parents[3]
MIGRATIONS = Path("src/notification-service/notification_service/migrations/versions")
SOURCES = ("src/notification-service/notification_service", "src/auditflow/auditflow")


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True
    ).stdout.strip()


@pytest.fixture
def previous_version(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that uses the code of the commit before the newest migration."""
    newest = max(path.name for path in (ROOT / MIGRATIONS).glob("v*.py"))
    try:
        log = ("log", "--format=%H", "--diff-filter=A", "--", str(MIGRATIONS / newest))
        added = _git(*log).decode().splitlines()[-1:]
        before = _git("rev-parse", "--verify", f"{added[0]}^" if added else "HEAD").decode()
        archive = tmp_path / "previous.tar"
        _git("archive", f"--output={archive}", before, *SOURCES)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the commit before the newest migration is not in this clone")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(tmp_path)], check=True)
    assert not (tmp_path / MIGRATIONS / newest).exists()
    path = os.pathsep.join(str(tmp_path / Path(source).parent) for source in SOURCES)
    return {"PYTHONPATH": path}


def _client(service: ServiceProcess, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}", "X-AuditFlow-User": "alice"}
    return httpx.Client(base_url=service.url, headers=headers, timeout=60, verify=False)


def test_the_previous_version_runs_on_the_new_schema(
    service_process: Callable[..., ServiceProcess],
    service_secrets: dict[str, str],
    broker: Any,
    database: Database,
    make_finding: Any,
    eventually: Any,
    query: Any,
    previous_version: dict[str, str],
) -> None:
    # Given the schema of this version, and the previous version of the code
    program = "import notification_service; print(notification_service.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **previous_version},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found.startswith(previous_version["PYTHONPATH"].split(os.pathsep)[0])
    token = service_secrets["API_TOKEN"]

    def total(client: httpx.Client) -> int:
        return int(client.get("/api/v1/alerts/total").json()["total"])

    # When the previous version stores findings, lists alerts and changes one
    old = service_process(
        "notification-service", rabbitmq=broker.server, database=database, env=previous_version
    )
    with _client(old, token) as client:
        broker.send(*(make_finding(user=f"user-{n}") for n in range(5)))
        eventually(lambda: total(client) == 5)
        listed = client.get("/api/v1/alerts").json()["alerts"]
        path = f"/api/v1/alerts/{listed[0]['alert_id']}"
        done = client.post(f"{path}/acknowledge", json={}, headers={"If-Match": "*"})
        assert (done.status_code, client.get(path).status_code) == (200, 200)
        broker.send(make_finding(user="user-0", count=7))  # a newer version of a finding
        eventually(lambda: query("SELECT max(count) FROM findings") == [(7,)])
    old.stop()

    # Then this version continues with its data
    new = service_process("notification-service", rabbitmq=broker.server, database=database)
    with _client(new, token) as client:
        broker.send(*(make_finding(user=f"user-{n}", bucket=1) for n in range(10)))
        eventually(lambda: total(client) == 10)
        assert client.get(path).json()["status"] == "acknowledged"
        assert client.get("/api/v1/alerts/facets").json()["total"] == 10
    assert broker.dead_letters() == []
