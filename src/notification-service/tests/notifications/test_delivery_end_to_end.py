"""An alert that is opened reaches its receiver, with the real broker, database and HTTP."""

from typing import Any


def routes(url: str) -> str:
    return f"""
route:
  receiver: team
  group_by: [rule]
  group_wait: 0s
  group_interval: 1s
receivers:
- name: team
  webhook: {{url: "{url}", key_secret: KEY}}
"""


def test_an_opened_alert_is_notified_once(
    broker: Any,
    database: Any,
    service_process: Any,
    make_finding: Any,
    sink: Any,
    configured: Any,
    verified: Any,
    eventually: Any,
    query: Any,
) -> None:
    # given a service with a route to a webhook
    service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env=configured(routes(sink.url)),
    )

    # when a finding arrives, twice
    finding = make_finding(user="mallory")
    broker.send(finding, finding)

    # then the receiver gets one signed notification about it
    (received,) = eventually(lambda: sink.received)
    assert verified(sink)
    assert received["total"] == 1
    (alert,) = received["alerts"]
    assert (alert["actor"], alert["reason"]) == ("mallory", "new")
    assert alert["url"] == f"http://dashboard.example/alerts/{alert['alert_id']}"
    assert sink.headers[0]["idempotency-key"] == received["notification_id"]

    # and a redelivery and a further finding of the same alert bring about no other one
    broker.send(finding, make_finding(user="mallory", bucket=1))
    eventually(lambda: query("SELECT finding_count FROM alerts") == [(2,)])
    eventually(lambda: query("SELECT count(*) FROM alert_outbox") == [(0,)])
    assert len(sink.received) == 1
