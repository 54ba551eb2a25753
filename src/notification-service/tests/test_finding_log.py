"""The signed log of findings: what is stored is what the log says, and attacks are detected."""

import datetime as dt
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import psycopg2
import pytest
from prometheus_client import CollectorRegistry

from auditflow.contract.audit import FindingDocument, FindingLogEntry, LoggedFinding
from auditflow.contract.finding import EventRef, Evidence, Observables
from auditflow.merkle.note import Signer
from auditflow_local.servers.postgres import Database
from auditflow_local.servers.postgres_roles import APP
from auditflow_local.service_process import ServiceProcess
from notification_service.audit import backfill
from notification_service.audit.finding_check import FindingLog, FindingsChanged, Result, check
from notification_service.audit.logs import FINDINGS
from notification_service.audit.reading import AuditLogReader
from notification_service.audit.signing import SigningTask, append_findings
from notification_service.database import rows
from notification_service.database.connection import connect
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.retention import Retention
from notification_service.metrics import AuditLogMetrics, RetentionMetrics

SIGNER = Signer("auditflow", bytes(range(32)))
AUDITFLOW = str(Path(sys.executable).parent / "auditflow")
VERIFIER = str(Path(__file__).parents[2] / "audit-verifier" / "verify_audit_log.py")
ZONE = dt.timezone(dt.timedelta(hours=5, minutes=45))


@pytest.fixture
def pool(database: Database, open_pool: Callable[..., Pool]) -> Pool:
    return open_pool(database)


@pytest.fixture
def documents(pool: Pool) -> Callable[[], list[FindingDocument]]:
    reader = AuditLogReader(pool, SIGNER)

    def read() -> list[FindingDocument]:
        found: list[FindingDocument] = []
        page = reader.documents(None)
        found += page.documents
        while page.next_after is not None:
            page = reader.documents(page.next_after)
            found += page.documents
        return found

    return read


@pytest.fixture
def read_log(pool: Pool, query: Any) -> Callable[[], FindingLog]:
    def read() -> FindingLog:
        while append_findings(pool):
            pass
        log = FindingLog()
        for (entry,) in query("SELECT entry FROM finding_log ORDER BY number"):
            log.add(entry.encode())
        return log

    return read


def test_the_log_has_the_hash_of_each_stored_finding(
    store: FindingStore, make_finding: Any, read_log: Any, documents: Any, query: Any
) -> None:
    # given findings with texts, times and events that the database could change
    at = dt.datetime.now(dt.UTC).replace(microsecond=120_000)
    event = msgspec.Raw(b'{"event_id":  "e1", "b": 1.50, "a": "\\u00e9 \xe2\x9c\x93", "b": 2e3}')
    plain = make_finding(user="alice")
    special = make_finding(
        user="bob",
        entity={"user_id": 'b"o\\b', "client_ip": "::1", "a": "✓"},
        at=at.astimezone(ZONE),
        count=300,
        description="Line 1\nLine 2\t😀",
        evidence=Evidence(
            events=(EventRef(at.astimezone(ZONE), "e1"), EventRef(at, "e2")),
            first_event=event,
            last_event=event,
            event_hashes="00ff" * 4,
        ),
        actor=None,
        observables=Observables(users=("zoe", "adam")),
        approximate=True,
    )

    store.store([plain, special])
    store.store([plain])  # a redelivery
    store.store([make_finding(user="alice", count=9)])

    log = read_log()
    assert check(log, documents(), lambda: None) == Result(2, 0)
    assert sorted(map(len, log.versions.values())) == [1, 2]
    assert query("SELECT number, entry LIKE '%%findings%%' FROM finding_log") == [
        (1, True), (2, True),
    ]  # fmt: skip
    assert query("SELECT count(*) FROM finding_log_outbox") == [(0,)]


def test_a_transaction_with_many_findings_has_several_entries(
    store: FindingStore, make_finding: Any, read_log: Any, documents: Any, query: Any
) -> None:
    store.store([make_finding(user=f"user-{n}") for n in range(401)])
    assert check(read_log(), documents(), lambda: None) == Result(401, 0)
    assert query("SELECT count(*), max(octet_length(entry)) < 65536 FROM finding_log") == [
        (2, True)
    ]


def test_findings_without_an_entry_are_added_once(
    store: FindingStore, make_finding: Any, read_log: Any, documents: Any, query: Any,
    database: Database, settings_for: Any,
) -> None:  # fmt: skip
    # given findings of before the log, entries that still wait, and entries of the log
    store.store([make_finding(user=f"old-{n}") for n in range(900)])
    query("DELETE FROM finding_log_outbox")
    store.store([make_finding(user="old-7", count=9), make_finding(user="numbered")])
    read_log()
    store.store([make_finding(user="waiting")])
    assert check(_read_log(query), documents(), lambda: None).without_entry == 900

    # when runs begin at the same time, while findings are stored
    with ThreadPoolExecutor(5) as threads:
        runs = [
            threads.submit(
                backfill.add_missing,
                partial(connect, settings_for(database), name="test", statement_seconds=30),
            )
            for _ in range(4)
        ]
        changes = threads.submit(
            lambda: [store.store([make_finding(user=f"old-{n}", count=9)]) for n in range(50, 90)]
        )
        added = [run.result(timeout=60) for run in runs]
        changes.result(timeout=60)
    added.append(
        backfill.add_missing(
            partial(connect, settings_for(database), name="test", statement_seconds=30)
        )
    )

    # then each finding has its entry, and the verifier finds no difference
    log = read_log()
    result = check(log, documents(), lambda: None)
    assert (result.findings, result.without_entry) == (902, 0)
    assert result.added_later == len(log.added_later) == sum(filter(None, added))
    assert 899 - 40 <= result.added_later <= 899
    assert added[-1] == 0
    later = query("SELECT entry FROM finding_log WHERE entry LIKE '%%added_later%%'")
    ids = [it["finding_id"] for (text,) in later for it in msgspec.json.decode(text)["findings"]]
    assert len(ids) == len(set(ids)) == result.added_later


def test_a_run_that_was_killed_is_continued(
    store: FindingStore, make_finding: Any, read_log: Any, documents: Any, query: Any,
    database: Database, settings_for: Any,
) -> None:  # fmt: skip
    store.store([make_finding(user=f"old-{n}") for n in range(900)])
    query("DELETE FROM finding_log_outbox")
    (newest,) = query("SELECT last_value FROM finding_log_outbox_outbox_id_seq")[0]
    query(
        "ALTER TABLE finding_log_outbox ADD CONSTRAINT two CHECK (outbox_id < %s) NOT VALID",
        newest + 2,
    )
    opened = partial(connect, settings_for(database), name="test", statement_seconds=30)
    with pytest.raises(psycopg2.errors.CheckViolation):
        backfill.add_missing(opened)
    assert len(read_log().versions) == 400
    query("ALTER TABLE finding_log_outbox DROP CONSTRAINT two")

    assert backfill.add_missing(opened) == 500
    assert check(read_log(), documents(), lambda: None) == Result(900, 0, 900)


def _read_log(query: Any) -> FindingLog:
    log = FindingLog()
    for (entry,) in query("SELECT entry FROM finding_log ORDER BY number"):
        log.add(entry.encode())
    return log


def test_replicas_number_entries_once_and_without_gaps(
    database: Database, open_pool: Any, make_finding: Any, read_log: Any, query: Any
) -> None:
    def write(replica: int) -> None:
        store = FindingStore(open_pool(database))
        for bucket in range(20):
            store.store([make_finding(user=f"user-{replica}", bucket=bucket)])

    def move(_: int) -> None:
        own = open_pool(database)
        for _turn in range(30):
            append_findings(own)

    with ThreadPoolExecutor(4) as threads:
        for done in [*(threads.submit(write, it) for it in range(2)),
                     *(threads.submit(move, it) for it in range(2))]:  # fmt: skip
            done.result(timeout=60)

    log = read_log()
    assert len(log.versions) == 40
    assert query("SELECT count(*), min(number), max(number) FROM finding_log") == [(40, 1, 40)]


@pytest.mark.parametrize(
    "forbidden",
    [
        "INSERT INTO finding_log VALUES (1, '')",
        "UPDATE finding_log SET entry = ''",
        "DELETE FROM finding_log",
        "UPDATE finding_log_outbox SET entry = ''",
        "DELETE FROM finding_log_outbox",
    ],
)
def test_the_service_cannot_change_entries(query: Any, forbidden: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(forbidden, role=APP)


def test_findings_that_retention_deleted_are_not_missing(
    pool: Pool, store: FindingStore, make_finding: Any, read_log: Any, documents: Any, query: Any
) -> None:
    now = dt.datetime.now(dt.UTC)
    store.store([make_finding(user="old", at=now - dt.timedelta(days=100)), make_finding()])
    query("UPDATE findings SET received_at = first_seen")
    retention = Retention(pool, RetentionMetrics(CollectorRegistry()), days=60)
    while retention():
        pass
    assert check(read_log(), documents(), lambda: None) == Result(1, 0)
    query("DELETE FROM findings")
    with pytest.raises(FindingsChanged, match="1 findings are missing"):
        check(read_log(), documents(), lambda: None)


def _entry(*versions: tuple[int, str], **more: Any) -> bytes:
    findings = tuple(
        LoggedFinding(UUID(int=number), "2026-01", _hash(text)) for number, text in versions
    )
    return msgspec.json.encode(
        FindingLogEntry(at=dt.datetime.now(dt.UTC), findings=findings, **more)
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _log(*entries: bytes) -> FindingLog:
    log = FindingLog()
    for entry in entries:
        log.add(entry)
    return log


def test_findings_that_are_stored_during_the_check_are_found_in_the_later_log() -> None:
    before = _log(_entry((1, "a"), (2, "b")))
    later = _log(_entry((1, "a"), (2, "b")), _entry((2, "c"), (3, "d")))
    stored = [
        FindingDocument(finding_id=UUID(int=number), document=text)
        for number, text in ((1, "a"), (2, "c"), (3, "d"), (4, "before the log"))
    ]
    assert check(before, stored, iter([later]).__next__) == Result(4, 1)


def test_an_old_version_of_a_finding_is_detected() -> None:
    log = _log(_entry((1, "a")), _entry((1, "b")))
    stored = [FindingDocument(finding_id=UUID(int=1), document="a")]
    with pytest.raises(FindingsChanged, match="1 findings are not as they were stored: 0000"):
        check(log, stored, lambda: None)
    with pytest.raises(FindingsChanged, match="an entry of the log is invalid"):
        _log(b"{}")


@pytest.fixture
def api(
    service_process: Callable[..., ServiceProcess],
    broker: Any,
    database: Database,
    service_secrets: dict[str, str],
) -> Any:
    service = service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env={"AUDIT_LOG_KEY": SIGNER.private_key()},
    )
    headers = {"Authorization": f"Bearer {service_secrets['API_TOKEN']}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=10) as client:
        yield client


def _edit(query: Any) -> None:
    query("UPDATE findings SET description = 'nothing happened' WHERE actor = 'user-7'")


def _delete(query: Any) -> None:
    query("DELETE FROM findings WHERE actor = 'user-7'")


def _reorder(query: Any) -> None:
    """Two entries change places, and so do the contents of two findings."""
    query(
        "UPDATE finding_log AS a SET entry = b.entry FROM finding_log AS b"
        " WHERE (a.number, b.number) IN ((1, 2), (2, 1))"
    )
    query(
        "UPDATE findings AS a SET description = b.description FROM findings AS b"
        " WHERE (a.actor, b.actor) IN (('user-7', 'user-8'), ('user-8', 'user-7'))"
    )


def _truncate(query: Any) -> None:
    query("DELETE FROM findings WHERE actor = 'user-9'")
    query("DELETE FROM finding_log WHERE number = (SELECT max(number) FROM finding_log)")
    query(
        "DELETE FROM merkle_checkpoints WHERE log = 'findings'"
        " AND size > (SELECT max(number) FROM finding_log)"
    )


def _rewrite(query: Any) -> None:
    """All findings and all entries are new. The service signs the entries again."""
    query("UPDATE findings SET description = 'nothing happened'")
    query("DELETE FROM merkle_checkpoints WHERE log = 'findings'")
    query("DELETE FROM merkle_tiles WHERE log = 'findings'")
    for finding_id, document in _documents(query):
        old = "SELECT number, entry FROM finding_log WHERE position(%s in entry) > 0"
        for number, entry in query(old, finding_id):
            decoded = msgspec.json.decode(entry)
            for finding in decoded["findings"]:
                if finding["finding_id"] == finding_id:
                    finding["sha256"] = _hash(document)
            changed = msgspec.json.encode(decoded).decode()
            query("UPDATE finding_log SET entry = %s WHERE number = %s", changed, number)


def _documents(query: Any) -> list[tuple[str, str]]:
    texts = query(rows.select("findings", rows.FINDING_COLUMNS))
    found = [rows.read_row(text) for (text,) in texts]
    return [
        (str(row.finding_id), rows.document_of(rows.encode_finding(row)).decode()) for row in found
    ]


_TABLES = ("findings", "finding_log", "merkle_checkpoints", "merkle_tiles")


def test_both_verifiers_detect_five_of_five_attacks_on_findings(
    api: httpx.Client,
    broker: Any,
    make_finding: Any,
    database: Database,
    open_pool: Callable[..., Pool],
    eventually: Any,
    query: Any,
    tmp_path: Path,
) -> None:
    for number in range(10):
        broker.send(make_finding(user=f"user-{number}"))
        eventually(lambda n=number: query("SELECT count(*) FROM finding_log") == [(n + 1,)])

    def signed() -> bool:
        logs = api.get("/api/v1/audit/logs").json()["logs"]
        return any((it["name"], it["size"]) == ("findings", 10) for it in logs)

    eventually(signed)
    own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", "--log", "findings", "--url")
    assert own.stdout == (
        "auditflow/findings: 10 entries verified, 0 checkpoints\n"
        "10 stored findings compared; 0 of them are older than the log, or were stored without an"
        " entry\n"
    )
    other = _run(api, tmp_path, sys.executable, VERIFIER, "--log", "findings")
    assert other.stdout == (
        "10 stored findings compared\nverified: 10 entries, 1 earlier checkpoints\n"
    )
    for table in _TABLES:
        query(f"CREATE TABLE copy_of_{table} AS TABLE {table}")

    for attack in (_edit, _delete, _reorder, _truncate, _rewrite):
        attack(query)
        # a service that has restarted signs whatever it finds
        SigningTask(open_pool(database), SIGNER, FINDINGS, AuditLogMetrics(CollectorRegistry()))()
        own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", "--log", "findings", "--url")
        other = _run(api, tmp_path, sys.executable, VERIFIER, "--log", "findings")
        assert (own.returncode, other.returncode) == (1, 1), (attack.__name__, own, other)
        assert "is NOT verified: " in own.stderr
        assert other.stderr.startswith("NOT VERIFIED: ")
        for table in _TABLES:
            query(f"TRUNCATE {table}")
            query(f"INSERT INTO {table} SELECT * FROM copy_of_{table}")
    own = _run(api, tmp_path, AUDITFLOW, "audit", "verify", "--log", "findings", "--url")
    assert own.returncode == 0, own.stderr


def test_only_auditors_read_the_documents(api: httpx.Client) -> None:
    body = {"name": "t", "scopes": ["alerts:read", "alerts:write"]}
    analyst = {"Authorization": f"Bearer {api.post('/api/v1/tokens', json=body).json()['secret']}"}
    path = "/api/v1/audit/findings/documents"
    assert api.get(path).json() == {"documents": [], "next_after": None}
    assert api.get(path, headers=analyst).status_code == 403
    assert api.get(path, params={"after": "x"}).status_code == 400


def _run(api: httpx.Client, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    token = api.headers["authorization"].removeprefix("Bearer ")
    return subprocess.run(
        [*command, str(api.base_url), "--key", str(SIGNER.verifier), "--checkpoints", str(folder)],
        env={**os.environ, "API_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
