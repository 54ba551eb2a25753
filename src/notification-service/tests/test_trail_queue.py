"""Records of the audit trail wait for the database in their order."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from auditflow.errors import Unavailable
from auditflow_local.servers.postgres import Database
from notification_service.audit import trail as trails
from notification_service.audit.trail import Record, Trail, TrailMetrics
from notification_service.database.pool import Pool
from notification_service.database.trail_store import TrailStore

from .trail_records import record


class Failing:
    """A store that is unavailable at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.batches: list[list[Record]] = []

    def append(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("postgresql", "test")
        self.batches.append(list(records))


def test_records_wait_for_the_database_in_their_order() -> None:
    store = Failing(3)
    trail = Trail(store, TrailMetrics(CollectorRegistry()))
    futures = [trail.record(record(f"action {number}")) for number in range(1500)]
    for _ in range(3):
        with pytest.raises(Unavailable):
            trail.flush()
    assert not futures[0].done()

    assert trail.flush()
    assert not trail.flush()

    stored = [record.action for batch in store.batches for record in batch]
    assert stored == [f"action {number}" for number in range(1500)]
    assert all(future.done() for future in futures)
    assert not trail.flush()


def test_the_oldest_records_are_dropped_and_a_row_states_how_many(monkeypatch: Any) -> None:
    monkeypatch.setattr(trails, "MAX_WAITING", 10)
    store, registry = Failing(1), CollectorRegistry()
    trail = Trail(store, TrailMetrics(registry))
    futures = [trail.record(record(f"action {number}")) for number in range(13)]
    with pytest.raises(Unavailable):
        trail.flush()

    trail.flush()

    ((first, *rest),) = store.batches
    assert (first.action, first.detail) == ("trail rows dropped", {"rows": "3"})
    assert [record.action for record in rest] == [f"action {number}" for number in range(3, 13)]
    assert isinstance(futures[0].exception(0), Unavailable)
    assert registry.get_sample_value("auditflow_audit_trail_dropped_total") == 3


def test_an_outage_of_the_database_loses_no_row(
    database: Database, open_pool: Callable[..., Pool], query: Any, eventually: Any
) -> None:
    trail = Trail(TrailStore(open_pool(database)), TrailMetrics(CollectorRegistry()))
    trail.start()
    trail.record(record("before")).result(60)
    database.server.restart()
    future = trail.record(record("during"))
    trail.record_read(record("read"))
    future.result(60)
    trail.close()
    assert query("SELECT number, action FROM audit_trail ORDER BY number") == [
        (1, "before"), (2, "during"), (3, "read"),
    ]  # fmt: skip
