"""Silences, snoozes, maintenance windows and inhibition, on the real database and over the API."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from auditflow.http.health import Health
from auditflow.http.tokens import Tokens
from notification_service.api import app as application
from notification_service.metrics import Metrics

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def call(machine: Any, make_stores: Any) -> Callable[..., tuple[int, Any]]:
    """Sends a request as a person."""
    registry = CollectorRegistry()
    stores = msgspec.structs.replace(make_stores(), notifications=machine.parts)
    app = application.create(
        stores, Health({}), registry, Metrics(registry), tokens=Tokens(SecretStr("t0ken"))
    )

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async def ask() -> tuple[int, Any]:
            headers = {
                "Authorization": "Bearer t0ken",
                "X-AuditFlow-User": "alice",
                "If-Match": "*",
            }
            client: Any = app.test_client()
            data = None if body is None else json.dumps(body)
            answer = await client.open(f"/api/v1{path}", method=method, headers=headers, data=data)
            return answer.status_code, json.loads(await answer.get_data())

        return asyncio.run(ask())

    return call


def _silence(**more: Any) -> dict[str, Any]:
    end = dt.datetime.now(dt.UTC) + HOUR
    return {"matchers": ['actor="mallory"'], "reason": "a test", "ends_at": end.isoformat(), **more}


def test_a_silence_hides_and_never_drops(
    machine: Any, call: Any, store: Any, make_finding: Any
) -> None:
    # given a silence
    status, silence = call("POST", "/silences", _silence())
    assert (status, silence["state"], silence["author"]) == (200, "active", "alice")

    # when an alert that matches is opened, and another one
    store.store([make_finding(user="mallory"), make_finding(user="bob")])
    machine.run()

    # then only the other one is notified, and the hidden one is listed with the silence
    (content,) = machine.take()
    assert [alert.actor for alert in content.alerts] == ["bob"]
    _, hidden = call("GET", f"/silences/{silence['silence_id']}/alerts")
    assert hidden["total"] == 1
    alert_id = hidden["alerts"][0]["alert_id"]
    _, route = call("GET", f"/alerts/{alert_id}/route")
    assert route["hidden_by"] == f"silence:{silence['silence_id']}"
    assert [it["receiver"] for it in route["routes"]] == ["team"]

    # and when the silence is ended, the alert is notified
    machine.run(1800)
    assert machine.take() == []
    assert call("DELETE", f"/silences/{silence['silence_id']}")[1]["state"] == "ended"
    machine.run(2)
    assert [alert.actor for content in machine.take() for alert in content.alerts] == ["mallory"]


def test_a_silence_that_ends_by_itself_shows_what_it_hid(
    machine: Any, call: Any, store: Any, make_finding: Any
) -> None:
    call("POST", "/silences", _silence())
    store.store([make_finding(user="mallory")])
    machine.run()
    assert machine.take() == []

    machine.run(1800)
    assert machine.take() == []
    machine.run(1810)

    assert [alert.actor for content in machine.take() for alert in content.alerts] == ["mallory"]


def test_a_silence_from_an_alert_ends_with_its_resolution(
    machine: Any, call: Any, store: Any, make_finding: Any
) -> None:
    # given an alert that is silenced by one call
    store.store([make_finding(user="mallory")])
    machine.run()
    ((alert,),) = [content.alerts for content in machine.take()]
    status, silence = call("POST", f"/alerts/{alert.alert_id}/silence", {"reason": "known"})
    assert status == 200
    assert silence["matchers"] == ['rule="failed-logins"', 'entity.user_id="mallory"']

    # then it is not repeated
    machine.run(2 * 3600)
    assert machine.take() == []

    # and after its resolution the next one is notified
    call("POST", f"/alerts/{alert.alert_id}/resolve", {"verdict": "benign"})
    store.store([make_finding(user="mallory", bucket=9)])
    machine.run(5)
    assert [it.actor for content in machine.take() for it in content.alerts] == ["mallory"]


def test_the_preview_shows_what_the_silence_hides(
    machine: Any, call: Any, store: Any, make_finding: Any, query: Any
) -> None:
    # given alerts that were opened every six hours of the last four days
    store.store([make_finding(user=f"user-{number}") for number in range(16)])
    begin = machine.now.replace(hour=1, minute=0, second=0, microsecond=0) - dt.timedelta(days=4)
    query(
        "UPDATE alerts SET opened_at = %s::timestamptz"
        " + substr(actor, 6)::int * interval '6 hours'",
        begin,
    )

    # when silences are previewed: every night from 00:30 to 02:30, and always
    nightly = {
        "matchers": ['actor=~"user-.*"'], "days": 30, "recurrence": "FREQ=DAILY",
        "starts_at": machine.now.replace(hour=0, minute=30).isoformat(), "duration": "2h",
    }  # fmt: skip
    _, night = call("POST", "/silences/preview", nightly)
    _, always = call("POST", "/silences/preview", {"matchers": ['actor=~"user-.*"'], "days": 30})
    _, few = call("POST", "/silences/preview", {"matchers": ['actor="user-3"'], "days": 30})

    # then they have exactly these alerts
    listed = query("SELECT alert_id::text FROM alerts WHERE extract(hour FROM opened_at) = 1")
    assert sorted(it["alert_id"] for it in night["alerts"]) == sorted(row[0] for row in listed)
    assert night["total"] == 4
    assert always["total"] == 16
    assert few["total"] == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"matchers": []}, "matchers: must have at least 1 item"),
        ({"matchers": ["nonsense"]}, '"where": "matchers[0]"'),
        ({"matchers": ['host=~"(("']}, '"where": "matchers[0]"'),
        ({"matchers": ['host=~".*"']}, "every alert"),
        ({"matchers": ['password="x"']}, "no label"),
        ({"ends_at": None}, "ends_at"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "later than starts_at"),
        ({"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2020-01-02T00:00:00Z"}, "in the past"),
        (
            {
                "starts_at": "2020-01-01T00:00:00Z",
                "ends_at": "2020-01-02T00:00:00Z",
                "recurrence": "FREQ=DAILY",
                "duration": "1h",
            },
            "in the past",
        ),
        ({"recurrence": "FREQ=SECONDLY", "duration": "1h"}, "FREQ"),
        ({"recurrence": "FREQ=DAILY;BYSECOND=1,2,3", "duration": "1h"}, "BYSECOND"),
        ({"recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "duration": "1h"}, "does not occur"),
        ({"recurrence": "FREQ=DAILY"}, "together"),
        ({"recurrence": "FREQ=DAILY", "duration": "1y"}, "duration: must be a duration"),
        ({"recurrence": "FREQ=DAILY", "duration": "1h", "time_zone": "../etc/passwd"}, "time zone"),
        ({"reason": ""}, "reason: must have at least 1 character"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_silence_that_is_wrong_is_refused(call: Any, change: Any, where: str) -> None:
    status, answer = call("POST", "/silences", _silence(**change))

    assert status == 400
    assert where in json.dumps(answer)


def test_a_maintenance_window_may_be_sent_again(machine: Any, call: Any) -> None:
    window = {
        "id": "CHG-1", "title": "patching", "matchers": ['host="web-1"'],
        "starts_at": machine.now.isoformat(), "ends_at": (machine.now + HOUR).isoformat(),
    }  # fmt: skip
    first = call("POST", "/maintenance-windows", window)[1]
    later = (machine.now + 2 * HOUR).isoformat()
    second = call("POST", "/maintenance-windows", {**window, "ends_at": later})[1]

    assert first["silence_id"] == second["silence_id"]
    assert dt.datetime.fromisoformat(second["ends_at"]) == machine.now + 2 * HOUR
    assert len(call("GET", "/silences")[1]["silences"]) == 1


def test_a_calendar_hides_during_its_events(machine: Any, store: Any, make_finding: Any) -> None:
    begin = machine.now - HOUR
    machine.write(
        """
route: {receiver: team, group_wait: 0s}
receivers:
- {name: team, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
maintenance:
- {name: patching, file: changes.ics, matchers: ['host="web-1"']}
""",
        changes__ics=_calendar("patching", begin, 2 * HOUR),
    )
    store.store([make_finding(user="a"), make_finding(user="b", server_hostname="db-1")])
    machine.run()
    assert [it.actor for content in machine.take() for it in content.alerts] == ["b"]

    machine.run(3700)

    assert [it.actor for content in machine.take() for it in content.alerts] == ["a"]


def _calendar(summary: str, begin: dt.datetime, length: dt.timedelta, more: str = "") -> str:
    form = "%Y%m%dT%H%M%SZ"
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:1\r\n"
        f"DTSTAMP:{begin.strftime(form)}\r\nDTSTART:{begin.strftime(form)}\r\n"
        f"DTEND:{(begin + length).strftime(form)}\r\nSUMMARY:{summary}\r\n{more}"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )


def test_an_open_alert_inhibits_others_of_its_host(
    machine: Any, call: Any, store: Any, make_finding: Any
) -> None:
    machine.write("""
route: {receiver: team, group_by: [rule], group_wait: 0s}
receivers:
- {name: team, webhook: {url: "http://127.0.0.1:9", key_secret: KEY}}
inhibit_rules:
- source_matchers: ['rule="host-taken-over"']
  target_matchers: ['rule=~"failed-.*"']
  equal: [host]
""")
    store.store(
        [
            make_finding(rule="host-taken-over", user="x", server_hostname="web-1"),
            make_finding(rule="failed-logins", user="y", server_hostname="web-1"),
            make_finding(rule="failed-logins", user="z", server_hostname="web-2"),
        ]
    )
    machine.run()
    contents = machine.take()
    assert sorted(it.actor for content in contents for it in content.alerts) == ["x", "z"]

    # when the cause is resolved, its consequence is notified
    (cause,) = [it for content in contents for it in content.alerts if it.actor == "x"]
    call("POST", f"/alerts/{cause.alert_id}/resolve", {"verdict": "true_positive"})
    machine.run(120)
    machine.run(400)
    assert "y" in [it.actor for content in machine.take() for it in content.alerts]


def test_a_snoozed_alert_is_not_repeated(
    machine: Any, call: Any, store: Any, make_finding: Any
) -> None:
    store.store([make_finding(user="mallory")])
    machine.run()
    ((alert,),) = [content.alerts for content in machine.take()]
    until = (machine.now + 5 * HOUR).isoformat()
    assert call("POST", f"/alerts/{alert.alert_id}/snooze", {"until": until})[0] == 200

    machine.run(4 * 3600)
    assert machine.take() == []

    machine.run(2 * 3600)
    assert [it.reason for content in machine.take() for it in content.alerts] == ["repeat"]
