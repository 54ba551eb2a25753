"""Details of alerts are kept by version, and are always up to date."""

import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from notification_service.database import details, prepared
from notification_service.database.alert_json import DETAIL_VERSIONS, DETAILS
from notification_service.database.alert_reader import AlertReader
from notification_service.database.details import Details
from notification_service.database.finding_store import FindingStore


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that read details, in order."""
    statements: list[str] = []
    real = prepared.execute

    def execute(cursor: Any, statement: str, values: Any) -> None:
        statements.append(statement)
        real(cursor, statement, values)

    monkeypatch.setattr(prepared, "execute", execute)
    return statements


def ids(query: Any) -> list[UUID]:
    return [UUID(alert_id) for (alert_id,) in query("SELECT alert_id FROM alerts ORDER BY actor")]


def test_an_unchanged_detail_is_not_encoded_again(
    store: FindingStore, reader: AlertReader, query: Any, make_finding: Any, executed: list[str]
) -> None:
    store.store([make_finding(user=name) for name in ("alice", "bob")])
    kept = Details(reader.pool)
    alice, bob = ids(query)
    unknown = uuid4()
    first = kept.read([alice, unknown])
    assert first.keys() == {alice}
    assert executed == [DETAILS]
    second = kept.read([alice, unknown])
    assert second == first
    assert second[alice] is first[alice]
    # An alert that was not read before is read, and the other one comes from memory.
    executed.clear()
    both = kept.read([alice, bob])
    assert both[alice] is first[alice]
    assert json.loads(both[bob])["actor"] == "bob"
    assert executed == [DETAIL_VERSIONS, DETAILS]


def test_a_detail_shows_each_change_at_once(
    store: FindingStore, reader: AlertReader, query: Any, make_finding: Any
) -> None:
    store.store([make_finding(user="alice")])
    kept, (alice,) = Details(reader.pool), ids(query)

    def shown() -> dict[str, Any]:
        read = kept.read([alice])[alice]
        assert read == Details(reader.pool).read([alice])[alice]
        found: dict[str, Any] = json.loads(read)
        return found

    assert shown()["findings_total"] == 1
    # a finding, and a new version of it
    finding = make_finding(user="alice", bucket=1)
    store.store([finding])
    assert shown()["findings_total"] == 2
    # the alert, and the risk of its entity, which is not a part of the alert
    query("UPDATE alerts SET description = 'new'")
    assert shown()["description"] == "new"
    query("INSERT INTO entity_risk SELECT entity_kind, entity_value, 77, now() FROM alerts LIMIT 1")
    assert shown()["risk"] == 77
    query("DELETE FROM alerts")
    assert kept.read([alice]) == {}


def test_a_detail_is_read_again_after_some_time(
    store: FindingStore, reader: AlertReader, query: Any, make_finding: Any, executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store.store([make_finding(user="alice")])
    kept, (alice,) = Details(reader.pool), ids(query)
    kept.read([alice])
    # Retention deletes findings without a change of the alert.
    query("DELETE FROM findings")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + details.KEPT_SECONDS + 1)
    executed.clear()
    assert json.loads(kept.read([alice])[alice])["findings"] == []
    assert executed == [DETAILS]


def test_the_memory_is_limited(
    store: FindingStore, reader: AlertReader, query: Any, make_finding: Any, executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store.store([make_finding(user=f"user-{number}") for number in range(10)])
    wanted = ids(query)
    size = max(len(text) for text in Details(reader.pool).read(wanted).values())
    monkeypatch.setattr(details, "MAX_KEPT", 3 * size)
    kept = Details(reader.pool)
    assert len(kept.read(wanted)) == len(kept.read(wanted)) == 10
    assert kept._kept.currsize <= 3 * size
    # A detail that is larger than the limit is not kept.
    monkeypatch.setattr(details, "MAX_KEPT", 10)
    kept = Details(reader.pool)
    assert kept.read(wanted[:1]) == kept.read(wanted[:1])
    assert kept._kept.currsize == 0
