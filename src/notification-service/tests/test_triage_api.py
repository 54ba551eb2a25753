"""Actions over the API, on the real database."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.contract.alert import Action, Verdict
from auditflow.contract.finding import Finding
from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.database.finding_store import FindingStore
from notification_service.database.triage_store import TriageStore, VersionMismatch
from notification_service.history import EMPTY_HASH, Actor, hash_entry
from notification_service.metrics import Metrics
from notification_service.query import AlertFilter
from notification_service.triage import Command

Answer = tuple[int, Any, Any]
ALICE = Actor("alice", "person")


@pytest.fixture
def call(make_stores: Any) -> Callable[..., Answer]:
    """Sends a request as a person; ``version`` is the value of If-Match."""
    registry = CollectorRegistry()
    tokens = Tokens(SecretStr("t0ken"))
    app = application.create(
        make_stores(),
        Health({}),
        registry,
        Metrics(registry),
        tokens=tokens,
    )

    def call(
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = "alice",
        version: str | None = "*",
    ) -> Answer:
        async def ask() -> Answer:
            client: Any = app.test_client()
            headers = {"Authorization": "Bearer t0ken"}
            if user is not None:
                headers["X-AuditFlow-User"] = user
            if version is not None:
                headers["If-Match"] = version
            data = body if isinstance(body, bytes) or body is None else json.dumps(body)
            answer = await client.open(path, method=method, headers=headers, data=data)
            return answer.status_code, json.loads(await answer.get_data()), answer.headers

        return asyncio.run(ask())

    return call


@pytest.fixture
def alert_id(store: FindingStore, make_finding: Callable[..., Finding]) -> UUID:
    """An open alert."""
    (opened,) = store.store([make_finding()]).opened
    return opened.alert_id


def test_acknowledge_and_resolve(call: Callable[..., Answer], alert_id: UUID) -> None:
    code, alert, headers = call("GET", f"/api/v1/alerts/{alert_id}")
    assert (code, headers["ETag"], alert["triage_version"]) == (200, '"1"', 1)
    assert alert["allowed_actions"] == ["acknowledge", "assign", "comment", "resolve", "snooze"]

    code, alert, headers = call(
        "POST", f"/api/v1/alerts/{alert_id}/acknowledge", version=headers["ETag"]
    )
    assert (code, alert["status"], headers["ETag"]) == (200, "acknowledged", '"2"')

    code, alert, _ = call(
        "POST",
        f"/api/v1/alerts/{alert_id}/resolve",
        {"verdict": "false_positive", "comment": "A *planned* test."},
        version=headers["ETag"],
        user="b%C3%B6b",
    )
    assert (code, alert["status"], alert["verdict"]) == (200, "resolved", "false_positive")

    code, history, _ = call("GET", f"/api/v1/alerts/{alert_id}/history")
    assert code == 200
    assert [(it["number"], it["actor"], it["action"]) for it in history["entries"]] == [
        (2, "böb", "resolve"),
        (1, "alice", "acknowledge"),
    ]
    assert history["entries"][0]["comment"] == "A *planned* test."
    assert history["entries"][0]["to_status"] == "resolved"
    assert history["next_before"] is None


def test_an_action_needs_the_current_version(call: Callable[..., Answer], alert_id: UUID) -> None:
    path = f"/api/v1/alerts/{alert_id}/acknowledge"
    assert call("POST", path, version=None)[0] == 428
    assert call("POST", path, version="one")[0] == 428
    code, problem, headers = call("POST", path, version='"7"')
    assert (code, headers["ETag"]) == (412, '"1"')
    assert "Read it again" in problem["detail"]
    assert call("POST", path, version='"1"')[0] == 200
    assert call("POST", path, version='"1"')[0] == 412


def test_an_illegal_transition_lists_the_allowed_actions(
    call: Callable[..., Answer], alert_id: UUID
) -> None:
    call("POST", f"/api/v1/alerts/{alert_id}/resolve", {"verdict": "benign"})

    code, problem, headers = call("POST", f"/api/v1/alerts/{alert_id}/acknowledge")

    assert (code, headers["Content-Type"]) == (409, "application/problem+json")
    assert problem["allowed_actions"] == ["comment", "resolve", "reopen"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("comment", b""),
        ("comment", {"comment": ""}),
        ("comment", {"comment": "a\0b"}),
        ("comment", {"comment": "x" * 10_001}),
        ("comment", {"comment": "x", "more": 1}),
        ("comment", b"{"),
        ("comment", b"[" * 100_000),
        ("comment", b"\xff"),
        ("comment", b'{"comment": "\\ud800"}'),
        ("assign", {}),
        ("assign", {"assignee": "a\nb"}),
        ("assign", {"assignee": "a\n"}),
        ("assign", {"assignee": "   "}),
        ("assign", {"assignee": "nobody.known"}),
        ("resolve", {"verdict": "closed"}),
        ("resolve", {"verdict": "duplicate_of"}),
        (
            "resolve",
            {"verdict": "duplicate_of", "duplicate_of": "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"},
        ),
        ("snooze", {"until": "2020-01-01T00:00:00Z"}),
        ("snooze", {"until": "soon"}),
        ("snooze", {}),
    ],
)
def test_an_invalid_body_is_refused(
    call: Callable[..., Answer], alert_id: UUID, query: Any, action: str, body: Any
) -> None:
    code, problem, _ = call("POST", f"/api/v1/alerts/{alert_id}/{action}", body)

    assert code == 400, problem
    assert problem["detail"]
    assert query("SELECT count(*) FROM alert_history") == [(0,)]


def test_alerts_are_assigned_to_users_only(
    call: Callable[..., Answer], alert_id: UUID, query: Any
) -> None:
    path, bulk = f"/api/v1/alerts/{alert_id}/assign", "/api/v1/alerts/bulk"
    selection = {"action": "assign", "alert_ids": [str(alert_id)], "assignee": "carol"}
    filtered = {"action": "assign", "filter": {"status": "open"}, "assignee": "carol"}
    for url, body in ((path, {"assignee": "carol"}), (bulk, selection), (bulk, filtered)):
        code, problem, _ = call("POST", url, body)
        assert (code, problem["errors"][0]["where"]) == (400, "assignee")
        assert "there is no user 'carol'" in problem["detail"]

    call("GET", "/api/v1/me", user="carol")  # as the first sign-in does
    assert call("POST", path, {"assignee": "carol"})[0] == 200

    query("UPDATE users SET disabled = true WHERE name = 'carol' RETURNING name")
    for url, body in ((path, {"assignee": "carol"}), (bulk, selection), (bulk, filtered)):
        code, problem, _ = call("POST", url, body)
        assert (code, problem["detail"]) == (400, "assignee: the user 'carol' is disabled")
    assert call("POST", path, {"assignee": None})[1]["assignee"] is None


def test_an_invalid_body_names_the_field_and_the_permitted_values(
    call: Callable[..., Answer], alert_id: UUID
) -> None:
    path = f"/api/v1/alerts/{alert_id}"
    code, problem, _ = call("POST", f"{path}/resolve", {"verdict": "closed"})
    assert (code, problem["title"]) == (400, "Invalid request body")
    assert problem["errors"] == [
        {
            "where": "verdict",
            "what": "must be one of true_positive, false_positive, benign, duplicate_of",
        }
    ]
    code, problem, _ = call("POST", f"{path}/snooze", {"until": "soon"})
    assert (code, problem["detail"]) == (
        400, "until: must be a time with an offset by RFC 3339, such as 2026-01-31T08:00:00Z",
    )  # fmt: skip


def test_undo_of_the_last_action(call: Callable[..., Answer], alert_id: UUID) -> None:
    path = f"/api/v1/alerts/{alert_id}"
    call("GET", "/api/v1/me", user="carol")
    call("POST", f"{path}/assign", {"assignee": "carol"})
    call("POST", f"{path}/resolve", {"verdict": "benign"})

    code, alert, _ = call("POST", f"{path}/undo")
    assert (code, alert["status"], alert["verdict"], alert["assignee"]) == (
        200, "open", None, "carol",
    )  # fmt: skip
    code, problem, _ = call("POST", f"{path}/undo")
    assert (code, problem["detail"]) == (409, "The last action on the alert cannot be undone.")


def test_reopening_and_undo_respect_a_newer_alert(
    call: Callable[..., Answer], alert_id: UUID, store: FindingStore, make_finding: Any
) -> None:
    path = f"/api/v1/alerts/{alert_id}"
    call("POST", f"{path}/resolve", {"verdict": "benign"})
    store.store([make_finding(bucket=1)])

    for action in ("reopen", "undo"):
        code, problem, _ = call("POST", f"{path}/{action}")
        assert code == 409
        assert "newer alert" in problem["detail"]
        assert "reopen" not in problem["allowed_actions"]
    code, result, _ = call(
        "POST", "/api/v1/alerts/bulk", {"action": "reopen", "alert_ids": [str(alert_id)]}
    )
    assert (code, result["changed"], result["failed"]) == (200, 0, 1)


def test_a_bulk_action_on_a_selection_and_its_undo(
    call: Callable[..., Answer], store: FindingStore, make_finding: Any, query: Any
) -> None:
    # given five alerts, one of which is resolved
    opened = store.store([make_finding(user=f"user-{n}") for n in range(5)]).opened
    ids = [str(alert.alert_id) for alert in opened]
    call("POST", f"/api/v1/alerts/{ids[0]}/resolve", {"verdict": "benign"})
    unknown = "0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"

    # when all are acknowledged with one comment
    code, result, _ = call(
        "POST",
        "/api/v1/alerts/bulk",
        {"action": "acknowledge", "alert_ids": [*ids, unknown], "comment": "Mine."},
    )

    # then the resolved and the unknown alert are reported
    assert (code, result["changed"], result["failed"]) == (200, 4, 2)
    assert {it["alert_id"] for it in result["failures"]} == {ids[0], unknown}
    # and when somebody acts on one of them, the undo leaves that one alone
    call("POST", f"/api/v1/alerts/{ids[1]}/comment", {"comment": "Look."}, user="bob")
    code, undone, _ = call("POST", f"/api/v1/alerts/bulk/{result['bulk_id']}/undo")
    assert (code, undone["changed"], undone["failed"]) == (200, 3, 1)
    assert query("SELECT status, count(*) FROM alerts GROUP BY 1 ORDER BY 1") == [
        ("acknowledged", 1), ("open", 3), ("resolved", 1),
    ]  # fmt: skip
    assert call("POST", f"/api/v1/alerts/bulk/{unknown}/undo")[0] == 404


def test_a_bulk_action_on_a_filter(
    call: Callable[..., Answer], store: FindingStore, make_finding: Any, query: Any
) -> None:
    for start in range(0, 1200, 200):
        store.store([make_finding(user=f"user-{start + n}") for n in range(200)])
    store.store([make_finding(rule="other")])

    code, result, _ = call(
        "POST",
        "/api/v1/alerts/bulk",
        {"action": "resolve", "filter": {"rule": "failed-logins"}, "verdict": "benign"},
    )

    assert (code, result["changed"], result["more"]) == (200, 1200, False)
    assert query("SELECT rule_id, status FROM alerts GROUP BY 1, 2 ORDER BY 1") == [
        ("failed-logins", "resolved"), ("other", "open"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"action": "acknowledge"},
        {"action": "acknowledge", "alert_ids": [], "filter": None},
        {"action": "acknowledge", "filter": {"limit": "1"}},
        {"action": "acknowledge", "filter": {"nonsense": "1"}},
        {"action": "delete", "filter": {}},
        {"action": "resolve", "filter": {}},
        {"action": "comment", "alert_ids": ["0c9d2c11-2f4e-5b63-9a53-6f1e2d9b7a10"]},
    ],
)
def test_an_invalid_bulk_action_is_refused(call: Callable[..., Answer], body: Any) -> None:
    assert call("POST", "/api/v1/alerts/bulk", body)[0] == 400


def test_the_history_is_a_chain_without_gaps_under_concurrent_actions(
    store: FindingStore, database: Any, open_pool: Any, make_finding: Any, query: Any
) -> None:
    opened = store.store([make_finding(user=f"user-{n}") for n in range(8)]).opened
    comment = Command(action=Action.COMMENT, comment="Seen.")

    def work(number: int) -> None:
        own = TriageStore(open_pool(database))
        for alert in opened:
            own.act(
                alert.alert_id, comment, actor=Actor(f"p{number}", "person"), expected_version=None
            )

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work, number) for number in range(4)]:
            done.result(timeout=60)

    rows = query("SELECT number, entry, hash FROM alert_history ORDER BY number")
    assert [number for number, *_ in rows] == list(range(1, 33))
    previous = EMPTY_HASH
    for _, entry, digest in rows:
        previous = hash_entry(previous, entry.encode())
        assert bytes(digest) == previous


def test_of_two_actions_on_the_same_version_one_succeeds(
    alert_id: UUID, database: Any, open_pool: Any
) -> None:
    command = Command(action=Action.RESOLVE, verdict=Verdict.BENIGN)

    def work(_: int) -> bool:
        try:
            TriageStore(open_pool(database)).act(alert_id, command, actor=ALICE, expected_version=1)
        except VersionMismatch:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(work, range(4))) == [False, False, False, True]


def test_the_service_cannot_change_or_delete_history(
    call: Callable[..., Answer], alert_id: UUID, query: Any
) -> None:
    import psycopg2

    from auditflow_local.servers.postgres_roles import APP

    call("POST", f"/api/v1/alerts/{alert_id}/acknowledge")
    for statement in ("UPDATE alert_history SET entry = 'x'", "DELETE FROM alert_history"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(statement, role=APP)


def test_an_escalation_ends_the_snooze_and_is_recorded(
    call: Callable[..., Answer], alert_id: UUID, store: FindingStore, make_finding: Any
) -> None:
    path = f"/api/v1/alerts/{alert_id}"
    call("POST", f"{path}/snooze", {"until_escalation": True})

    store.store([make_finding(bucket=1, count=500)])

    _, alert, _ = call("GET", path)
    assert (alert["snoozed_until_escalation"], alert["active_again"]) == (False, True)
    _, history, _ = call("GET", f"{path}/history")
    newest = history["entries"][0]
    assert (newest["action"], newest["actor_kind"]) == ("escalated", "system")


def test_a_filter_action_continues_with_its_bulk_id(
    triage_store: TriageStore, store: FindingStore, make_finding: Any, monkeypatch: Any
) -> None:
    from notification_service.database import triage_store as module

    monkeypatch.setattr(module, "MAX_BULK", 4)
    monkeypatch.setattr(module, "BULK_CHUNK", 2)
    store.store([make_finding(user=f"user-{n}") for n in range(7)])
    comment = Command(action=Action.COMMENT, comment="Seen.")
    everything = AlertFilter()

    first = triage_store.act_on_filter(everything, comment, actor=ALICE, bulk_id=None)
    rest = triage_store.act_on_filter(everything, comment, actor=ALICE, bulk_id=first.bulk_id)

    assert (first.changed, first.more, rest.changed, rest.more) == (4, True, 3, False)


def test_times_of_the_history_are_ordered(call: Callable[..., Answer], alert_id: UUID) -> None:
    before = dt.datetime.now(dt.UTC)
    call("POST", f"/api/v1/alerts/{alert_id}/acknowledge")

    _, history, _ = call("GET", f"/api/v1/alerts/{alert_id}/history")

    assert before <= dt.datetime.fromisoformat(history["entries"][0]["at"])


def test_alerts_are_not_duplicates_of_each_other(
    call: Callable[..., Answer], store: Any, make_finding: Any, query: Any
) -> None:
    # Given a is a duplicate of b, and b of c
    store.store([make_finding(user=name) for name in "abc"])
    a, b, c = (alert_id for (alert_id,) in query("SELECT alert_id FROM alerts ORDER BY actor"))

    def resolve(alert_id: str, original: str) -> Answer:
        body = {"verdict": "duplicate_of", "duplicate_of": original}
        return call("POST", f"/api/v1/alerts/{alert_id}/resolve", body)

    assert [resolve(a, b)[0], resolve(b, c)[0]] == [200, 200]

    # When c is resolved as a duplicate of a, then it is refused, also in a bulk action
    code, problem, _ = resolve(c, a)
    assert (code, problem["errors"]) == (
        400,
        [{"where": "duplicate_of", "what": "that alert is itself a duplicate of this one"}],
    )
    bulk = {"action": "resolve", "verdict": "duplicate_of", "duplicate_of": a, "alert_ids": [b, c]}
    done = call("POST", "/api/v1/alerts/bulk", bulk)[1]
    assert (done["changed"], done["failed"]) == (0, 2)
    # and another original is possible
    query("UPDATE alerts SET duplicate_of = NULL WHERE alert_id = %s", b)
    assert resolve(c, a)[0] == 200
