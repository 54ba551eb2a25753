"""The search of texts is exact, whatever part of the alerts is in the index of texts."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from auditflow.contract.alert import Action
from auditflow_local.servers.postgres_roles import APP
from notification_service.cursor import Cursors
from notification_service.database import candidates, texts
from notification_service.database.alert_export import export_alerts
from notification_service.database.alert_filters import escape_like
from notification_service.database.alert_reader import AlertReader
from notification_service.database.facets import read_facets
from notification_service.database.texts import update_texts
from notification_service.history import Actor
from notification_service.query import parse, parse_filter
from notification_service.triage import Command

ALICE = Actor("alice", "person")

TEXTS = (
    "login of O'Brien", "LOGIN of o'brien", "100% of_it", r"back\slash", "Ärger mit Straße",
    "ΑΣ ΣΑΣ", "日本語のログ", "10.0.7.9 to 10.0.77.9", "a", "ab", "x\x1fy", "tab\there", "🔥 fire",
)  # fmt: skip
SEARCHED = (
    "login", "LOGIN OF", "o'b", "100%", "%", "_", "of_it", "\\", "k\\s", "ärger", "STRASSE", "straße",
    "ας", "σας", "日本", "本語の", "10.0.7", "0.77.9", "7.9 to", "a", "ab", "B", "x\x1fy", "\x1f", "\t",
    "🔥", "🔥 f", "nothing", "zq", "user-1", "web-1", "203.0.113", "ssh", " ", "  ",
)  # fmt: skip


@pytest.fixture
def pool(database: Any, open_pool: Callable[..., Any]) -> Any:
    return open_pool(database, size=2)


@pytest.fixture
def search(pool: Any, query: Any) -> Callable[[str], set[str]]:
    """The users of the alerts that a list and facets find, compared with a comparison of all."""

    def run(text: str) -> set[str]:
        page = AlertReader(pool).page(parse({"q": text, "limit": "200"}.items(), Cursors("key")))
        (expected,) = query(
            "SELECT coalesce(array_agg(alert_id::text), '{}') FROM alerts WHERE title ILIKE %(q)s"
            " OR description ILIKE %(q)s OR actor ILIKE %(q)s OR server_hostname ILIKE %(q)s"
            " OR resource ILIKE %(q)s OR client_ip ILIKE %(q)s".replace("%(q)s", "%s"),
            *[f"%{escape_like(text)}%"] * 6,
        )
        found = {alert.split('"')[3] for alert in page.alerts}
        assert found == set(expected[0])
        facets = read_facets(pool, parse_filter({"q": text}.items()))
        assert (facets.total, facets.exact) == (len(found), True)
        return found

    return run


def test_searches_are_exact_before_during_and_after_the_update(
    store: Any, make_finding: Any, pool: Any, search: Any, query: Any
) -> None:
    store.store([make_finding(user=f"user-{n}", description=text) for n, text in enumerate(TEXTS)])
    for text in SEARCHED:
        search(text)

    assert not update_texts(pool)
    assert query("SELECT count(*) FROM alert_texts") == [(len(TEXTS),)]
    for text in SEARCHED:
        search(text)

    # and while texts have changed that the index still has
    store.store(
        [
            make_finding(user=f"user-{n}", bucket=1, description=text)
            for n, text in enumerate(reversed(TEXTS))
        ]
    )
    for text in SEARCHED:
        search(text)
    assert not update_texts(pool)
    for text in SEARCHED:
        search(text)


def test_an_update_waits_for_transactions_with_lower_numbers(
    store: Any, make_finding: Any, pool: Any, search: Any, database: Any
) -> None:
    store.store([make_finding(user="first", description="early text")])
    with closing(psycopg2.connect(database.dsn(APP))) as slow:
        with slow.cursor() as cursor:
            cursor.execute("UPDATE alerts SET description = 'late text' WHERE actor = 'first'")
        store.store([make_finding(user="second", description="other")])
        update_texts(pool)
        slow.commit()

    assert len(search("late text")) == 1
    update_texts(pool)
    assert len(search("late text")) == 1
    assert search("early text") == set()


def test_updates_continue_until_all_changes_are_read(
    store: Any, make_finding: Any, pool: Any, search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_CHANGES", 2)
    store.store([make_finding(user=f"user-{n}") for n in range(5)])

    assert [update_texts(pool) for _ in range(3)] == [True, True, False]

    assert len(search("user-")) == 5


def test_only_one_replica_updates(store: Any, make_finding: Any, pool: Any, database: Any) -> None:
    store.store([make_finding()])
    with closing(psycopg2.connect(database.dsn(APP))) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4713, 8)")
        assert not update_texts(pool)

    with pool.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alert_texts")
        assert cursor.fetchone() == (0,)


def test_a_text_in_many_alerts_is_not_listed(
    store: Any, make_finding: Any, pool: Any, search: Any
) -> None:
    store.store([make_finding(user=f"user-{n}") for n in range(texts.FREQUENT + 1)])
    update_texts(pool)

    assert texts.find(pool, "%user-%", most=10_000).alerts is None
    assert len(texts.find(pool, "%user-1%", most=10_000).alerts or ()) == 11
    assert texts.find(pool, "%user-1%", most=10).alerts is None
    assert len(search("user-")) == texts.FREQUENT + 1


def test_a_text_of_no_alert_reads_the_index_only(
    store: Any, make_finding: Any, pool: Any, query: Any
) -> None:
    store.store([make_finding(user=f"user-{n}") for n in range(50)])
    update_texts(pool)

    plan = query(
        "SET enable_seqscan = off; EXPLAIN (COSTS OFF) " + texts._MATCHING.replace("%(q)s", "%s")
        .replace("%(limit)s", "%s"),
        "%nothing%", "%nothing%", 10,
    )  # fmt: skip

    steps = "\n".join(step for (step,) in plan)
    assert "Bitmap Index Scan on alert_texts_trigrams" in steps
    assert "Index Scan on alerts_by_change" in steps
    assert "Seq Scan" not in steps


def test_a_bulk_action_and_an_export_find_the_alerts_of_a_text(
    store: Any, triage_store: Any, make_finding: Any, pool: Any
) -> None:
    store.store([make_finding(user=f"user-{n}") for n in range(30)])
    update_texts(pool)
    criteria = parse_filter({"q": "USER-2", "host": "web-1"}.items())
    found = candidates.read(pool, criteria, most=40)
    assert (found.observables, len(found.texts or ())) == (frozenset({"host"}), 11)
    assert candidates.read(pool, criteria, most=20).observables == frozenset()

    exported = list(export_alerts(pool, criteria))
    command = Command(action=Action.COMMENT, comment="Seen.")
    done = triage_store.act_on_filter(criteria, command, actor=ALICE, bulk_id=None)

    assert (len(exported), done.changed, done.more) == (11, 11, False)
