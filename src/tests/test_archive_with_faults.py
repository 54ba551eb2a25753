"""The archive holds exactly the accepted events after faults of its process and its servers.

The process ``audit-event-archive`` runs on real servers under a load of 5,000 events per second.
Faults are chosen at random, with a fixed seed. The variable FAULT_SEEDS gives other seeds, for
example ``FAULT_SEEDS="5 6 7"``.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from src.tests.archive_with_faults import Faults, fill
from src.tests.conftest import migrated
from src.tests.faulty_s3 import BUCKET, faulty_s3
from src.tests.written_archive import Archive

from audit_analysis.archive.settings import StorageSettings
from audit_analysis.archive.storage import FolderStorage, open_storage
from auditflow.amqp import topology
from auditflow_local.polling import eventually

pytestmark = pytest.mark.soak

SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEEDS", "1").split()]
DISK_MEBIBYTES = 256
POSTGRES_MEBIBYTES = 320
AUDITFLOW = str(Path(sys.executable).parent / "auditflow")
VERIFIER = str(Path(__file__).parents[1] / "audit-verifier/verify_audit_log.py")


@pytest.fixture
def make_faults(
    rabbitmq: Any, make_postgres: Any, service_process: Any, tmp_path: Path
) -> Iterator[Any]:
    made: list[Archive] = []

    def make(
        folder: Path,
        env: dict[str, str],
        *,
        seed: int,
        storage: Any,
        postgres_folder: Path = tmp_path,
    ) -> Faults:
        rabbitmq.empty(topology.ARCHIVE, f"{topology.ARCHIVE}.dlq")
        postgres = make_postgres(postgres_folder)
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
def test_no_event_is_lost_or_doubled_in_s3(
    make_faults: Any, verify: Any, tmp_path: Path, seed: int
) -> None:
    with faulty_s3(seed) as server:
        settings = StorageSettings(
            archive_folder=tmp_path / "archive",
            archive_bucket=BUCKET,
            archive_s3_endpoint=f"http://127.0.0.1:{server.server_port}",
            archive_s3_access_key_id="a",
            archive_s3_secret_access_key=SecretStr("b"),
        )
        env = {
            "ARCHIVE_BUCKET": BUCKET,
            "ARCHIVE_S3_ENDPOINT": settings.archive_s3_endpoint,
            "ARCHIVE_S3_ACCESS_KEY_ID": "a",
            "ARCHIVE_S3_SECRET_ACCESS_KEY": "b",
        }
        faults = make_faults(tmp_path / "archive", env, seed=seed, storage=open_storage(settings))

        def fail_requests() -> None:
            """Let requests to S3 fail or be slow, until some have failed."""
            before = server.faults
            server.faulty = True
            eventually(lambda: server.faults >= before + 3, what="failed requests")
            server.faulty = False

        def fill_bucket() -> None:
            before = faults.pauses()
            server.full = True
            faults.wait_for_pause(before)
            server.full = False

        # The faults of the broker are in the test of a folder.
        kinds = (
            faults.kill_process, faults.pause_process, faults.kill_postgres, faults.lock_postgres,
            fail_requests, fill_bucket,
        )  # fmt: skip
        faults.run(kinds, count=6)
        faults.check()
        server.copy_to(tmp_path / "files")
    verify(faults, tmp_path / "files")


@pytest.mark.parametrize("seed", SEEDS)
def test_no_event_is_lost_or_doubled_in_a_folder(
    small_disk: Any, make_faults: Any, verify: Any, seed: int
) -> None:
    disk, postgres_disk = small_disk(DISK_MEBIBYTES), small_disk(POSTGRES_MEBIBYTES)
    folder = disk / "archive"
    faults = make_faults(
        folder, {}, seed=seed, storage=FolderStorage(folder), postgres_folder=postgres_disk
    )

    def fill_disk() -> None:
        """Let the disk be full until the writer has failed to write a file."""
        before = faults.pauses()
        filler = fill(disk)
        faults.wait_for_pause(before)
        filler.unlink()

    def fill_postgres() -> None:
        """Let the disk of PostgreSQL be full until it has failed to commit."""
        before = faults.pauses()
        filler = fill(postgres_disk)
        faults.wait_for_pause(before)
        filler.unlink()
        faults.postgres.kill()  # a full disk may have ended it
        faults.postgres.start()

    kinds = (
        faults.kill_process, faults.pause_process, faults.kill_postgres, faults.lock_postgres,
        faults.end_sessions, faults.kill_broker, faults.close_connections, fill_disk, fill_postgres,
    )  # fmt: skip
    faults.run(kinds, count=10)
    faults.check()
    verify(faults, folder)
