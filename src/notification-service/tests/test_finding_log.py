"""The signed log of findings contains the hash of each stored finding."""

import datetime as dt
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import psycopg2
import pytest
from prometheus_client import CollectorRegistry

from auditflow.contract.audit import FindingDocument, FindingLogEntry, LoggedFinding
from auditflow.contract.finding import EventRef, Evidence, Observables
from auditflow.merkle.note import Signer
from auditflow_local.servers.postgres import Database
from auditflow_local.servers.postgres_roles import APP
from notification_service.audit import backfill
from notification_service.audit.finding_check import FindingLog, FindingsChanged, Result, check
from notification_service.audit.reading import AuditLogReader
from notification_service.audit.signing import append_findings
from notification_service.database.connection import connect
from notification_service.database.finding_store import FindingStore
from notification_service.database.pool import Pool
from notification_service.database.retention import Retention
from notification_service.metrics import RetentionMetrics

SIGNER = Signer("auditflow", bytes(range(32)))


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
                partial(connect, settings_for(database), name="test", statement_seconds=60),
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
            partial(connect, settings_for(database), name="test", statement_seconds=60)
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
    opened = partial(connect, settings_for(database), name="test", statement_seconds=60)
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
