"""The archive process needs little memory at rest, and stays within a limit while it searches."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import yaml
from src.tests.bench.archive_reading import START_MS, file_of, generate
from src.tests.conftest import migrated
from src.tests.platform import client

from audit_analysis.archive.manifest import Manifest
from auditflow.contract.event import from_epoch_ms
from auditflow_local.polling import eventually
from auditflow_local.servers.postgres_roles import ARCHIVE
from auditflow_local.service_process import ServiceProcess

pytestmark = pytest.mark.soak

EVENTS = 300_000
SINCE = from_epoch_ms(START_MS)
UNTIL = SINCE + dt.timedelta(days=1)
#: The limits of the process (MiB), with its default settings.
AT_REST = 200
DURING_SEARCHES = 512
DEPLOYMENT = Path(__file__).parents[2] / "apps/audit-event-archive/base/deployment.yaml"


class Process:
    """The archive process, whose peak memory can be reset."""

    def __init__(self, service: ServiceProcess) -> None:
        assert service.pid is not None
        self.folder = Path(f"/proc/{service.pid}")

    def reset(self) -> None:
        (self.folder / "clear_refs").write_text("5")

    def resident(self, name: str = "VmRSS") -> int:
        """The resident memory in MiB, with ``VmHWM`` its peak since the last reset."""
        return mebibytes(self.folder, name)

    def children(self) -> Iterator[int]:
        """The peaks of its child processes in MiB."""
        for file in (self.folder / "task").glob("*/children"):
            for child in file.read_text().split():
                try:
                    yield mebibytes(Path(f"/proc/{child}"), "VmHWM")
                except (OSError, StopIteration):  # it has ended
                    continue


def mebibytes(folder: Path, name: str) -> int:
    lines = (folder / "status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def archive(service_process: Any, rabbitmq: Any, postgres: Any, tmp_path: Path) -> ServiceProcess:
    """The process with an archive of one day."""
    folder = tmp_path / "archive"
    folder.mkdir()
    paths = generate(folder, EVENTS, EVENTS)
    database = migrated(postgres)
    manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
    manifest.migrate()
    manifest.commit([file_of(path, folder) for path in paths], [])
    manifest.close()
    servers = {"rabbitmq": rabbitmq, "database": database}
    process: ServiceProcess = service_process(
        "audit-event-archive",
        api=service_process("notification-service", **servers),
        env={"ARCHIVE_FOLDER": str(folder), "ARCHIVE_MAINTENANCE_SECONDS": "1"},
        **servers,
    )
    eventually(lambda: list((folder / ".ids").glob("*")), what="the index of identifiers")
    return process


def test_the_memory_at_rest_and_during_searches_and_a_hunt(
    archive: ServiceProcess, service_secrets: dict[str, str], record_property: Any
) -> None:
    # Given a process at rest
    process = Process(archive)
    at_rest = process.resident()
    assert at_rest < AT_REST
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    with client(base_url=archive.url, headers=headers) as api:
        api.timeout = httpx.Timeout(120)
        # when all kinds of searches run at once
        process.reset()
        run_searches(api)
        during_searches = process.resident("VmHWM")
        # and then with a hunt
        process.reset()
        hunt = start_hunt(api)
        peaks = [0]

        def is_final() -> bool:
            peaks.extend(process.children())
            state = api.get(f"/api/v1/hunts/{hunt}").raise_for_status().json()["state"]
            return state not in ("waiting", "running")

        searches = threading.Thread(target=run_searches, args=(api,))
        searches.start()
        eventually(is_final, what="the end of the hunt", seconds=300)
        searches.join()
        ended = api.get(f"/api/v1/hunts/{hunt}").json()
    with_a_hunt = process.resident("VmHWM")
    figures = (at_rest, during_searches, with_a_hunt, max(peaks))
    print("MiB at rest, in searches, with a hunt, of the hunt:", figures)  # noqa: T201
    record_property("mebibytes", figures)
    assert (ended["state"], ended["total_events"]) == ("completed", EVENTS)
    # then the memory stays within the limits
    assert during_searches < DURING_SEARCHES
    assert with_a_hunt < DURING_SEARCHES
    # and both processes within the limit of the pod, even if their peaks had been at the same time
    assert 0 < max(peaks) < pod_limit() - with_a_hunt


def pod_limit() -> int:
    """The memory limit of the pod in MiB."""
    (container,) = yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]["containers"]
    limit: str = container["resources"]["limits"]["memory"]
    return int(limit.removesuffix("Mi"))


def run_searches(api: httpx.Client) -> None:
    day = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}
    paths: list[tuple[str, dict[str, str]]] = [
        ("", {"q": "zzqqzz"}),
        ("", {"limit": "500"}),
        ("/facets", {"fields": "user,host,address,event_type"}),
        ("/histogram", {}),
        ("/export", {"event_type": "sudo_command"}),
        ("/export", {"format": "parquet", "event_type": "sudo_command"}),
        ("/event-000000000007", {}),
    ]
    failures: list[str] = []

    def search(path: str, query: dict[str, str]) -> None:
        parameters = query if path.startswith("/event-") else {**day, **query}
        answer = api.get(f"/api/v1/events{path}", params=parameters)
        if answer.status_code != 200:
            failures.append(f"{path} {query}: {answer.status_code} {answer.text[:200]}")

    threads = [threading.Thread(target=search, args=arguments) for arguments in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def start_hunt(api: httpx.Client) -> str:
    body = {"rules": RULES, "since": SINCE.isoformat(), "until": UNTIL.isoformat()}
    answer = api.post("/api/v1/hunts", json=body)
    assert answer.status_code == 202, answer.text
    identifier: str = answer.json()["hunt_id"]
    return identifier


#: A correlation that many users fulfil.
RULES = """
title: A login
name: a_login
id: 5d0a3a4c-13b8-4a38-9d0f-3f2f0f3b6f01
status: test
logsource: {product: auditflow, category: authentication}
detection: {own: {event_type: user_login}, condition: own}
level: low
---
title: Many logins
id: 5d0a3a4c-13b8-4a38-9d0f-3f2f0f3b6f02
status: test
correlation:
  type: event_count
  rules: [a_login]
  group-by: [user_id]
  timespan: 1h
  condition: {gte: 20}
level: low
"""
