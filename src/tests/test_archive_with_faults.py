"""The archive holds exactly the accepted events after faults of its process and its servers.

The process ``audit-event-archive`` runs on real servers under a load of 5,000 events per second.
Faults are chosen at random, with a fixed seed. The variable FAULT_SEEDS gives other seeds, for
example ``FAULT_SEEDS="5 6 7"``.
"""

import datetime as dt
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg2
import pytest
from prometheus_client import CollectorRegistry
from src.tests.archive_load import Load
from src.tests.conftest import migrated
from src.tests.platform import eventually, samples, total
from src.tests.written_archive import ACCEPTED_MS, Archive

from audit_analysis.archive.maintenance import Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.storage import FolderStorage
from audit_analysis.archive.table import hour_of
from audit_analysis.ledger.reading import LedgerReader
from auditflow.amqp import topology
from auditflow.contract.ledger_report import LedgerState
from auditflow_local.servers.postgres_roles import ARCHIVE
from auditflow_local.service_process import ServiceProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEEDS", "1").split()]
FAULTS = 12
DISK_BYTES = 256 * 1024 * 1024
AUDITFLOW = str(Path(sys.executable).parent / "auditflow")
VERIFIER = str(Path(__file__).parents[1] / "audit-verifier/verify_audit_log.py")


class Faults:
    """The process, its servers, the load, and the faults."""

    def __init__(self, archive: Archive, process: ServiceProcess, postgres: Any, seed: int) -> None:
        self.archive = archive
        self.process = process
        self.postgres = postgres
        self.random = random.Random(seed)
        self.load = Load(archive.rabbitmq, seed)

    def continue_load(self) -> None:
        self.load.wait(self.random.randint(1, 25))

    def kill_process(self) -> None:
        self.process.kill()
        self.continue_load()
        self.process.respawn()

    def pause_process(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        self.continue_load()
        os.kill(self.process.pid, signal.SIGCONT)

    def kill_postgres(self) -> None:
        self.postgres.kill()
        self.continue_load()
        self.postgres.start()

    def lock_postgres(self) -> None:
        """Let the writer wait for a lock."""
        connection = psycopg2.connect(self.archive.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE archive.files, archive.batches")
            self.continue_load()
        connection.close()

    def end_sessions(self) -> None:
        """End all sessions of the process at PostgreSQL."""
        connection = psycopg2.connect(self.archive.database.dsn(ARCHIVE))
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = user"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        connection.close()

    def kill_broker(self) -> None:
        self.archive.rabbitmq.kill()
        self.archive.rabbitmq.start()

    def close_connections(self) -> None:
        """Close all connections of the broker."""
        self.archive.rabbitmq.ctl("close_all_connections", "a fault")

    def run(self, *more: Callable[[], None]) -> Counter[str]:
        """Each fault at least once, under load. Returns the number of each."""
        kinds = [
            self.kill_process,
            self.pause_process,
            self.kill_postgres,
            self.lock_postgres,
            self.end_sessions,
            self.kill_broker,
            self.close_connections,
            *more,
        ]
        order = kinds + self.random.choices(kinds, k=FAULTS - len(kinds))
        self.random.shuffle(order)
        used: Counter[str] = Counter()
        self.load.start()
        for fault in order:
            self.continue_load()
            fault()
            used[fault.__name__] += 1
        self.continue_load()
        self.load.end()
        return used

    def check(self) -> None:
        """The archive holds exactly the accepted events, and the manifest equals the files."""
        manifest = self.archive.manifest
        manifest.close()  # its connection has ended with a fault
        expected = len(self.load.accepted)

        def rows() -> int:
            return sum(file.rows for file in manifest.snapshot())

        eventually(lambda: rows() >= expected, what="all events", seconds=120)
        eventually(lambda: self.archive.ready() == 0, what="an empty queue", seconds=60)
        self.process.stop()
        # No duplicate, also before compaction: each batch is committed once.
        assert sorted(self.read()) == sorted(self.load.accepted)
        # Files that were stored and not committed are orphans, which the maintenance removes. Its
        # first run also merges all files, and the second one deletes the files that were merged.
        for days in (2, 3):
            self.maintain(days)
        assert sorted(self.read()) == sorted(self.load.accepted)
        self.archive.check_files()
        self.check_ledger()

    def check_ledger(self) -> None:
        hour = hour_of(ACCEPTED_MS)
        ledger = LedgerReader(lambda: psycopg2.connect(self.archive.database.dsn(ARCHIVE)))
        report = ledger.report(since=hour, until=hour + dt.timedelta(hours=1))
        count, load = len(self.load.accepted), self.load
        assert (report.state, report.differences) == (LedgerState.BALANCED, ())
        found = report.total
        assert (found.accepted, found.archived) == (count, count)
        assert (found.analysed, found.refused) == (count - load.refused, load.refused)
        assert (found.late, found.staged) == (load.late, load.staged)
        assert (found.waiting, found.missing, found.unconfirmed) == (0, 0, 0)

    def maintain(self, days: int) -> None:
        """Run the maintenance some days later."""
        merger = ParquetWriter(
            self.archive.folder / ".unfinished/test",
            memory_mebibytes=256,
            threads=1,
            storage=self.archive.storage,
        )
        Maintenance(
            MaintenanceManifest(lambda: psycopg2.connect(self.archive.database.dsn(ARCHIVE))),
            self.archive.storage,
            merger,
            retention_days=36_500,
            metrics=ArchiveMetrics(CollectorRegistry()),
            clock=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=days),
        ).run()
        merger.close()

    def read(self) -> list[str]:
        files = [
            self.archive.storage.address(file.path) for file in self.archive.manifest.snapshot()
        ]
        with duckdb.connect() as connection:
            self.archive.storage.register(connection)
            rows = connection.execute("SELECT event_id FROM read_parquet(?)", [files]).fetchall()
        return [name for (name,) in rows]


@pytest.fixture
def make_faults(
    rabbitmq: Any, make_postgres: Any, service_process: Any, tmp_path: Path
) -> Iterator[Any]:
    made: list[Archive] = []

    def make(folder: Path, env: dict[str, str], *, seed: int, storage: Any) -> Faults:
        rabbitmq.empty(topology.ARCHIVE, f"{topology.ARCHIVE}.dlq")
        postgres = make_postgres(tmp_path)
        archive = Archive(rabbitmq, migrated(postgres), folder)
        archive.storage = storage
        made.append(archive)
        process = service_process(
            "audit-event-archive",
            rabbitmq=rabbitmq,
            database=archive.database,
            env={
                "ARCHIVE_FLUSH_SECONDS": "0.2",
                "ARCHIVE_FOLDER": str(folder),
                "ARCHIVE_RETENTION_DAYS": "36500",
                **env,
            },
        )
        return Faults(archive, process, postgres, seed)

    yield make
    for archive in made:
        archive.manifest.close()


@pytest.fixture
def verify(service_process: Any, service_secrets: dict[str, str]) -> Callable[[Faults, Path], None]:
    """Verifies files and their signed log with the command and with the independent program."""

    def run(faults: Faults, files: Path) -> None:
        archive = faults.archive
        service = service_process(
            "notification-service", rabbitmq=archive.rabbitmq, database=archive.database
        )
        token = service_secrets["API_TOKEN"]
        number = max(archive.manifest.log_number(path) or 0 for path in archive.manifest.paths())
        with httpx.Client(
            base_url=f"{service.url}/api/v1/audit/",
            headers={"Authorization": f"Bearer {token}"},
            verify=False,
            trust_env=False,
        ) as client:

            def signed() -> int:
                answer = client.get("files/checkpoint")
                return int(answer.text.split("\n")[1]) if answer.status_code == 200 else 0

            eventually(lambda: signed() >= number, what="a checkpoint of all entries")
            logs = client.get("logs").raise_for_status().json()["logs"]
        key = next(log["public_key"] for log in logs if log["name"] == "files")
        count = len(archive.manifest.paths())
        for program in (
            (AUDITFLOW, "audit", "verify", "--url", service.url),
            (sys.executable, VERIFIER, service.url),
        ):
            done = subprocess.run(
                (*program, "--log", "files", "--key", key, "--files", str(files)),
                env={**os.environ, "API_TOKEN": token}, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"{count} archived files compared" in done.stdout, done.stdout

    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_no_event_is_lost_or_doubled_in_a_folder(
    make_faults: Any, verify: Any, small_disk: Path, seed: int
) -> None:
    folder = small_disk / "archive"
    faults = make_faults(folder, {}, seed=seed, storage=FolderStorage(folder))

    def fill_disk() -> None:
        """Let the disk be full until the writer has failed to write a file."""
        before = pauses(faults.process)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as opened:
            for size in (1024 * 1024, 4096):
                with suppress(OSError):
                    while True:
                        opened.write(bytes(size))
        eventually(lambda: pauses(faults.process) > before, what="a pause")
        filler.unlink()

    used = faults.run(fill_disk)
    assert len(used) == 8, used
    faults.check()
    verify(faults, folder)


def pauses(process: ServiceProcess) -> float:
    """How often the process could not write."""
    return total(samples(f"{process.url}/metrics"), "auditflow_archive_pauses_total")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)),
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(("umount", "--lazy", str(folder)), check=True)
