"""The signed history: proofs, and attacks by the owner of the database."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from auditflow.contract.alert import Action
from auditflow.merkle import tree
from auditflow.merkle.checkpoint import open_checkpoint
from auditflow.merkle.note import NoteError, Signer
from auditflow.merkle.postgres import PostgresStore
from auditflow_local.servers.postgres import Database
from auditflow_local.service_process import ServiceProcess
from notification_service.audit.logs import HISTORY
from notification_service.audit.signing import SigningTask
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.triage_store import TriageStore
from notification_service.history import Actor
from notification_service.metrics import AuditLogMetrics
from notification_service.triage import Command

SIGNER = Signer("auditflow", bytes(range(32)))
ALICE = Actor("alice", "person")
VERIFIER = Path(__file__).parents[2] / "audit-verifier" / "verify_audit_log.py"
AUDITFLOW = str(Path(sys.executable).parent / "auditflow")
URL = "/api/v1/audit/history"


@pytest.fixture
def comment(
    store: FindingStore, triage_store: TriageStore, make_finding: Any, query: Any
) -> Callable[[int], None]:
    """Adds this many comments to the history."""
    store.store([make_finding()])
    ((alert_id,),) = query("SELECT alert_id FROM alerts")

    def add(count: int) -> None:
        for number in range(count):
            command = Command(action=Action.COMMENT, comment=f"Comment {number} ✓")
            triage_store.act(alert_id, command, actor=ALICE, expected_version=None)

    return add


@pytest.fixture
def new_task(database: Database, open_pool: Callable[..., Pool]) -> Callable[[], SigningTask]:
    """The signing task of a service that has just started."""

    def make() -> SigningTask:
        metrics = AuditLogMetrics(CollectorRegistry())
        return SigningTask(open_pool(database), SIGNER, HISTORY, metrics)

    return make


@pytest.fixture
def signing_service(
    service_process: Callable[..., ServiceProcess], broker: Any, database: Database
) -> ServiceProcess:
    """The service with a key."""
    return service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env={"AUDIT_LOG_KEY": SIGNER.private_key()},
    )


@pytest.fixture
def api(signing_service: ServiceProcess, service_secrets: dict[str, str]) -> Any:
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    with httpx.Client(base_url=signing_service.url, headers=headers, timeout=60) as client:
        yield client


def _size(api: httpx.Client) -> int:
    answer = api.get(f"{URL}/checkpoint")
    if answer.status_code == 404:
        return 0
    return open_checkpoint(answer.text, SIGNER.verifier, origin="auditflow/history").size


def test_entries_and_growth_are_proven(
    api: httpx.Client, comment: Callable[[int], None], eventually: Any, query: Any
) -> None:
    assert api.get(f"{URL}/checkpoint").status_code == 404
    comment(3)
    eventually(lambda: _size(api) == 3)
    old = open_checkpoint(
        api.get(f"{URL}/checkpoint").text, SIGNER.verifier, origin="auditflow/history"
    )
    comment(297)
    eventually(lambda: _size(api) == 300)
    new = open_checkpoint(
        api.get(f"{URL}/checkpoint").text, SIGNER.verifier, origin="auditflow/history"
    )

    entry = api.get(f"{URL}/entries/7").json()
    growth = api.get(f"{URL}/consistency", params={"old_size": 3}).json()

    ((stored,),) = query("SELECT entry FROM alert_history WHERE number = 7")
    assert (entry["entry"], entry["size"]) == (stored, 300)
    tree.verify_inclusion(
        leaf=tree.leaf_hash(stored.encode()), index=6, size=300,
        proof=[base64.b64decode(it) for it in entry["proof"]], expected_root=new.root,
    )  # fmt: skip
    tree.verify_consistency(
        old_size=3, old_root=old.root, new_size=300, new_root=new.root,
        proof=[base64.b64decode(it) for it in growth["proof"]],
    )  # fmt: skip
    (log,) = (it for it in api.get("/api/v1/audit/logs").json()["logs"] if it["name"] == "history")
    assert (log["size"], log["public_key"]) == (300, str(SIGNER.verifier))
    for path in (
        "entries/301", "entries/7?size=301", "consistency?old_size=301", "tile/0/001.p/45",
        "tile/0/002", "tile/entries/001", "tile/1/000.p/2", "tile/nothing", "../other/checkpoint",
    ):  # fmt: skip
        assert api.get(f"{URL}/{path}").status_code == 404, path
    for path in ("entries/7?size=0", "consistency", "consistency?old_size=x", "entries/7?a=b"):
        assert api.get(f"{URL}/{path}").status_code == 400, path
    assert len(api.get(f"{URL}/tile/0/001.p/44").content) == 44 * 32
    assert len(api.get(f"{URL}/tile/1/000.p/1").content) == 32


def test_only_leads_and_auditors_read_the_audit_logs(api: httpx.Client) -> None:
    paths = ("logs", "history/checkpoint", "history/tile/0/000", "history/entries/1",
             "history/consistency?old_size=1")  # fmt: skip
    body = {"name": "t", "scopes": ["alerts:read", "alerts:write"]}
    analyst = api.post("/api/v1/tokens", json=body).json()["secret"]
    auditor = api.post("/api/v1/tokens", json={"name": "a", "scopes": ["audit:read"]}).json()
    for path in paths:
        for secret, allowed in ((analyst, False), (auditor["secret"], True)):
            headers = {"Authorization": f"Bearer {secret}"}
            status = api.get(f"/api/v1/audit/{path}", headers=headers).status_code
            assert (status != 403) == allowed, path
    headers = {"Authorization": f"Bearer {auditor['secret']}"}
    assert api.get("/api/v1/alerts", headers=headers).status_code == 403
    assert api.get("/api/v1/tokens", headers=headers).status_code == 403


_RENUMBER = (
    "UPDATE alert_history SET number = -number WHERE number > {0}",
    "UPDATE alert_history SET number = -number - 1 WHERE number < 0",
)


def _edit(query: Any) -> None:
    query("UPDATE alert_history SET entry = replace(entry, 'Comment 7', 'Comment 8')")


def _delete(query: Any) -> None:
    query("ALTER TABLE alert_history DROP CONSTRAINT alert_history_number_check")
    query("DELETE FROM alert_history WHERE number = 8")
    for statement in _RENUMBER:
        query(statement.format(8))


def _reorder(query: Any) -> None:
    query(
        "UPDATE alert_history AS a SET entry = b.entry, hash = b.hash FROM alert_history AS b"
        " WHERE (a.number, b.number) IN ((7, 8), (8, 7))"
    )


def _truncate(query: Any) -> None:
    query("DELETE FROM alert_history WHERE number > 100")
    query("DELETE FROM merkle_checkpoints WHERE size > 100")


def _rewrite(query: Any) -> None:
    """All entries are new. The service signs them again, because all checkpoints are deleted."""
    query("UPDATE alert_history SET entry = replace(entry, 'alice', 'mallory')")
    query("DELETE FROM merkle_checkpoints")
    query("DELETE FROM merkle_tiles")


_TABLES = ("alert_history", "merkle_checkpoints", "merkle_tiles")


def test_both_verifiers_detect_five_of_five_attacks(
    api: httpx.Client,
    comment: Callable[[int], None],
    new_task: Callable[[], SigningTask],
    eventually: Any,
    query: Any,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    comment(100)
    eventually(lambda: _size(api) == 100)
    assert _verify(api, folder, "--commit").returncode == 0
    comment(200)
    eventually(lambda: _size(api) == 300)
    verified = _verify(api, folder, "--commit")
    assert (verified.returncode, verified.stdout) == (
        0,
        "auditflow/history: 300 entries verified, 1 checkpoints\n",
    )
    assert _git(folder, "log", "--format=%s").splitlines() == [
        "Checkpoint of the audit log history at 300 entries",
        "Checkpoint of the audit log history at 100 entries",
    ]
    assert _verify_independently(api, folder) == (0, "verified: 300 entries, 2 earlier checkpoints")
    for table in _TABLES:
        query(f"CREATE TABLE copy_of_{table} AS TABLE {table}")

    detected = []
    for attack in (_edit, _delete, _reorder, _truncate, _rewrite):
        attack(query)
        new_task()()  # by a service that has restarted and signs whatever it finds
        own, (other, reason) = _verify(api, folder), _verify_independently(api, folder)
        assert (own.returncode, other) == (1, 1), (attack.__name__, own, other)
        assert "is NOT verified: " in own.stderr
        assert reason.startswith("NOT VERIFIED: ")
        detected.append(attack.__name__)
        for table in _TABLES:
            query(f"TRUNCATE {table}")
            query(f"INSERT INTO {table} SELECT * FROM copy_of_{table}")
        assert _verify(api, folder).returncode == 0
        assert _verify_independently(api, folder)[0] == 0

    assert len(detected) == 5
    assert sorted(file.name for file in (folder / "history").iterdir()) == [
        "000000000100",
        "000000000300",
    ]


def test_a_contradicted_log_is_not_signed_and_a_metric_shows_it(
    comment: Callable[[int], None],
    open_pool: Callable[..., Pool],
    database: Database,
    query: Any,
) -> None:
    registry = CollectorRegistry()
    task = SigningTask(open_pool(database), SIGNER, HISTORY, AuditLogMetrics(registry))

    def state() -> tuple[float | None, float | None, int]:
        task()
        labels = {"log": "history"}
        ((signed,),) = query("SELECT coalesce(max(size), 0) FROM merkle_checkpoints")
        return (
            registry.get_sample_value("auditflow_audit_log_size", labels),
            registry.get_sample_value("auditflow_audit_log_contradicted", labels),
            signed,
        )

    comment(5)
    assert state() == (5, 0, 5)
    comment(1)
    query("UPDATE merkle_tiles SET hashes = set_byte(hashes, 3, 255 - get_byte(hashes, 3))")
    assert state() == (5, 1, 5)
    query("UPDATE merkle_tiles SET hashes = set_byte(hashes, 3, 255 - get_byte(hashes, 3))")
    assert state() == (6, 0, 6)
    query("DELETE FROM alert_history WHERE number = 6")
    assert state() == (6, 1, 6)
    query("DELETE FROM merkle_checkpoints WHERE size = 6")
    assert state() == (6, 1, 5)


def test_two_replicas_sign_each_entry_once(
    comment: Callable[[int], None], new_task: Callable[[], SigningTask], query: Any
) -> None:
    first, second = new_task(), new_task()
    for _ in range(3):
        comment(2)
        first()
        second()
    assert query("SELECT size FROM merkle_checkpoints ORDER BY size") == [(2,), (4,), (6,)]


def test_a_replica_does_not_sign_while_another_signs(
    comment: Callable[[int], None],
    new_task: Callable[[], SigningTask],
    open_pool: Callable[..., Pool],
    database: Database,
    query: Any,
) -> None:
    comment(2)
    with open_pool(database).connection() as connection, connection.cursor() as cursor:
        assert PostgresStore(cursor, "history").try_lock()
        assert not new_task()()
        assert query("SELECT count(*) FROM merkle_checkpoints") == [(0,)]
    new_task()()
    assert query("SELECT size FROM merkle_checkpoints") == [(2,)]


def _verify(api: httpx.Client, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return _run(
        api, AUDITFLOW, "audit", "verify", "--url", str(api.base_url),
        "--key", str(SIGNER.verifier), "--checkpoints", str(folder), *more,
    )  # fmt: skip


def _verify_independently(api: httpx.Client, folder: Path) -> tuple[int, str]:
    done = _run(
        api, sys.executable, str(VERIFIER), str(api.base_url),
        "--key", str(SIGNER.verifier), "--checkpoints", str(folder),
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).strip()


def _run(api: httpx.Client, *command: str) -> subprocess.CompletedProcess[str]:
    token = api.headers["authorization"].removeprefix("Bearer ")
    return subprocess.run(
        command,
        env={**os.environ, **_GIT, "API_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


_GIT = {f"GIT_{who}_{what}": "auditor@example.org" for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")}  # fmt: skip


def _git(folder: Path, *arguments: str) -> str:
    command = ("git", "-C", str(folder), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_new_key_is_usable() -> None:
    done = subprocess.run(
        [AUDITFLOW, "audit", "new-key", "audit.example.org"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    signer = Signer.parse(done.stdout.strip())
    assert signer.name == "audit.example.org"
    assert str(signer.verifier) in done.stderr
    assert signer.private_key() == done.stdout.strip()


def test_the_entries_of_the_history_fit_into_a_bundle() -> None:
    """The longest comment, of characters with four bytes or that JSON escapes."""
    for character in ("😀", "\x01"):
        assert len(json.dumps(character * 10_000, ensure_ascii=False).encode()) < 62_000


def test_a_key_is_derived_from_a_secret() -> None:
    secret = "5" * 40
    assert Signer.from_secret(secret, "auditflow") == Signer.from_secret(secret, "auditflow")
    assert Signer.from_secret(secret, "auditflow") != Signer.from_secret("6" * 40, "auditflow")
    assert Signer.from_secret(SIGNER.private_key(), "other") == SIGNER
    for text in ("short", SIGNER.private_key()[:-4]):
        with pytest.raises(NoteError):
            Signer.from_secret(text, "auditflow")
