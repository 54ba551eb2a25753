"""Notifications with real servers while processes are killed, and in a storm of alerts."""

import datetime as dt
import time
from collections import Counter
from typing import Any

import psutil
import pytest

EACH = "route: {{receiver: team, group_by: ['...'], group_wait: 0s, group_interval: 1s}}\n"
TEAM = """receivers:
- name: team
  rate_per_minute: 6000
  burst: 1000
  digest_above: {digest}
  webhook: {{url: "{url}", key_secret: KEY}}
"""


def test_a_receiver_gets_the_waiting_notifications_after_its_outage(
    broker: Any, database: Any, service_process: Any, make_finding: Any, sink: Any,
    configured: Any, eventually: Any, query: Any, api_of: Any,
) -> None:  # fmt: skip
    # given a receiver that fails once, and then refuses for good
    team = TEAM.format(url=sink.url, digest=20)
    text = EACH.format() + team.replace("- name: team", "- name: team\n  max_attempts: 1")
    service = service_process(
        "notification-service", rabbitmq=broker.server, database=database, env=configured(text)
    )
    sink.answers = [(500, {})]
    broker.send(make_finding(user="mallory"))
    eventually(lambda: query("SELECT status FROM notifications") == [("dead",)])

    # then the dead notification is visible with its reason, and can be sent again
    api = api_of(service)
    (dead,) = api.get("/api/v1/notifications", params={"status": "dead"}).json()["notifications"]
    assert (dead["last_error"], dead["attempts"]) == ("the webhook answered 500", 1)
    api.post(f"/api/v1/notifications/{dead['notification_id']}/retry")
    (received,) = eventually(lambda: sink.received)
    assert received["notification_id"] == dead["notification_id"]
    shown = eventually(
        lambda: (
            detail := api.get(f"/api/v1/notifications/{dead['notification_id']}").json()
        )["status"] == "sent" and detail
    )  # fmt: skip
    assert [alert["reason"] for alert in shown["alerts"]] == ["new"]
    # and a test notification arrives
    api.post("/api/v1/notifications/test", json={"receiver": "team"})
    eventually(lambda: [it["kind"] for it in sink.received] == ["alerts", "test"])


def test_notifications_continue_after_a_database_outage(
    broker: Any, make_postgres: Any, settings_for: Any, service_process: Any, make_finding: Any,
    sink: Any, configured: Any, eventually: Any, tmp_path: Any, prepared: Any,
) -> None:  # fmt: skip
    # given a service whose database is restarted while notifications wait
    database = prepared(make_postgres(tmp_path))
    service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env=configured(EACH.format() + TEAM.format(url=sink.url, digest=10_000)),
    )
    broker.send(*(make_finding(user=f"user-{number}") for number in range(20)))
    eventually(lambda: sink.received)
    database.server.kill()
    broker.send(*(make_finding(user=f"later-{number}") for number in range(20)))
    database.server.start()

    # then each alert is notified
    wanted = {f"{kind}-{number}" for kind in ("user", "later") for number in range(20)}
    eventually(
        lambda: {it["alerts"][0]["actor"] for it in list(sink.received)} == wanted, seconds=120
    )


@pytest.mark.parametrize(
    ("alerts", "route"),
    [
        # each alert is a group: too many notifications, which are merged
        (1_000, EACH.format()),
        pytest.param(100_000, EACH.format(), marks=pytest.mark.soak),
        # a large group: one notification that counts its alerts
        pytest.param(
            100_000,
            "route: {receiver: team, group_by: [rule], group_wait: 5s, group_interval: 5s}\n",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_a_storm_is_a_digest(
    database: Any, broker: Any, service_process: Any, sink: Any, configured: Any, eventually: Any,
    query: Any, alerts: int,
    route: str, api_of: Any, record_testsuite_property: Any,
) -> None:  # fmt: skip
    # given a service whose receiver gets single alerts
    service = service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env=configured(route + TEAM.format(url=sink.url, digest=20)),
    )
    process = psutil.Process(service.pid)
    before = process.memory_info().rss

    # when a storm of alerts is opened
    began = time.monotonic()
    query(
        "INSERT INTO alerts (alert_id, fingerprint, sequence, status, rule_id, rule_title,"
        " rule_revision, rule_level, rule_tags, severity, entity, title, description, environment,"
        " count, finding_count, first_seen, last_seen, newest_finding_id, approximate, opened_at,"
        " updated_at, version) SELECT gen_random_uuid(), gen_random_uuid(), 1, 'open',"
        " 'rule-' || n %% 3, 'Rule ' || n %% 3, '1', 'high', '{}', 'WARNING', '{}', 'Rule ' || n %% 3,"
        " 'storm', 'prod', 1, 1, now(), now(), gen_random_uuid(), false, now(), now(), 1"
        " FROM generate_series(1, %s) n",
        alerts,
    )
    highest = before
    api = api_of(service)

    def done() -> bool:
        nonlocal highest
        highest = max(highest, process.memory_info().rss)
        assert api.get("/api/v1/notifications", params={"limit": 1}).status_code == 200
        notified = sum(it["total"] for it in list(sink.received))
        return notified >= alerts

    eventually(done, seconds=240)

    # then few notifications were sent, a digest says how many alerts there are of which rule
    record_testsuite_property(f"storm_{alerts}_seconds", round(time.monotonic() - began))
    record_testsuite_property(f"storm_{alerts}_memory_mib", round(highest / 2**20))
    kinds = Counter(it["kind"] for it in sink.received)
    assert sum(kinds.values()) <= 60
    largest = max(sink.received, key=lambda it: it["total"])
    assert largest["total"] > 20
    assert sum(it["count"] for it in largest["by_rule"]) == largest["total"]
    assert len(largest["alerts"]) == 20
    if route == EACH.format():
        assert largest["kind"] == "digest"
        assert {it["rule"] for it in largest["by_rule"]} == {"rule-0", "rule-1", "rule-2"}
    # every alert is in exactly one notification
    assert query(
        "SELECT count(*), count(DISTINCT alert_id) FROM notification_alerts"
    ) == [(alerts, alerts)]  # fmt: skip
    # and memory stays flat, and the API answers
    assert highest - before < 64 * 2**20


def test_redelivery_never_notifies_the_same_state_again(
    machine: Any, store: Any, make_finding: Any, query: Any
) -> None:
    findings = [make_finding(user="mallory", bucket=number) for number in range(5)]
    store.store(findings[:2])
    machine.run()
    assert [content.total for content in machine.take()] == [1]

    for finding in (*findings, *reversed(findings), *findings):
        store.store([finding])
        machine.run(5)
    # the row of a change that comes twice changes nothing
    query("INSERT INTO alert_outbox (alert_id) SELECT alert_id FROM alerts, generate_series(1, 5)")
    machine.run(5)

    assert machine.take() == []
    machine.run(dt.timedelta(hours=1).total_seconds())
    assert [content.by_reason for content in machine.take()] == [{"repeat": 1}]
