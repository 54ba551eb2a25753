"""100,000 findings arrive through the broker, each an alert of its own."""

import math
import threading
import time
from collections import Counter
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.soak

ALERTS = 100_000
ROUTES = """
route: {{receiver: team, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
receivers:
- name: team
  rate_per_minute: 6000
  burst: 1000
  digest_above: 20
  webhook: {{url: "{url}", key_secret: KEY}}
"""
#: Findings that one call publishes, and alerts after which memory is called stable.
CHUNK = 1_000
STABLE = 20_000


def test_a_storm_from_the_broker_is_a_digest(
    broker: Any, database: Any, service_process: Any, make_finding: Any, sink: Any,
    configured: Any, api_of: Any, query: Any, record_testsuite_property: Any,
) -> None:  # fmt: skip
    # given the service with its consumer, and a receiver
    service = service_process(
        "notification-service",
        rabbitmq=broker.server,
        database=database,
        env=configured(ROUTES.format(url=sink.url)),
    )
    api, process = api_of(service), psutil.Process(service.pid)

    # when findings of as many users arrive as fast as they are published
    def publish() -> None:
        for start in range(0, ALERTS, CHUNK):
            broker.send(
                *(
                    make_finding(user=f"user-{number}", rule=f"rule-{number % 3}")
                    for number in range(start, start + CHUNK)
                )
            )

    publisher = threading.Thread(target=publish, daemon=True)
    storm_started = time.monotonic()
    publisher.start()
    answers: list[float] = []
    memory: list[tuple[int, int]] = []
    stored = notified = 0
    stored_after = 0.0
    while notified < ALERTS:
        assert time.monotonic() - storm_started < 600, (stored, notified)
        for path in ("/api/v1/alerts?limit=50", "/api/v1/alerts/facets", "/api/v1/notifications"):
            started = time.monotonic()
            answer = api.get(path)
            answers.append(time.monotonic() - started)
            # then the API answers all the time
            assert answer.status_code == 200, (path, answer.text)
            if path.endswith("facets"):
                stored = answer.json()["total"]
        if stored == ALERTS:
            stored_after = stored_after or time.monotonic() - storm_started
        memory.append((stored, process.memory_info().rss))
        notified = sum(it["total"] for it in list(sink.received))
        time.sleep(0.1)  # a few viewers, not a load test
    publisher.join(60)

    # and every finding is an alert, and every alert is in exactly one notification
    assert query("SELECT count(*), count(DISTINCT fingerprint) FROM alerts") == [(ALERTS, ALERTS)]
    assert query("SELECT count(*), count(DISTINCT alert_id) FROM notification_alerts") == [
        (ALERTS, ALERTS)
    ]
    assert broker.dead_letters() == []

    # and few messages were sent: the digest says how many alerts there are of which rule
    kinds = Counter(it["kind"] for it in sink.received)
    assert kinds["digest"] >= 1
    assert kinds.total() <= ALERTS / 200
    largest = max(sink.received, key=lambda it: it["total"])
    assert sum(it["count"] for it in largest["by_rule"]) == largest["total"] > 20
    assert {it["rule"] for it in largest["by_rule"]} <= {"rule-0", "rule-1", "rule-2"}
    assert len(largest["alerts"]) == 20

    # and memory did not grow with the number of alerts
    early = max(rss for number, rss in memory if number <= STABLE)
    highest = max(rss for _, rss in memory)
    answers.sort()
    record_testsuite_property("storm_from_broker_stored_seconds", round(stored_after))
    record_testsuite_property(
        "storm_from_broker_notified_seconds", round(time.monotonic() - storm_started)
    )
    record_testsuite_property("storm_from_broker_memory_mib", round(highest / 2**20))
    p99 = answers[math.ceil(len(answers) * 0.99) - 1]
    record_testsuite_property("storm_from_broker_api_p99_ms", round(p99 * 1000))
    print(  # noqa: T201 - the figures of this run
        f"stored {stored_after:.0f} s, memory {early >> 20} to {highest >> 20} MiB, "
        f"API p99 {p99 * 1000:.0f} ms, {dict(kinds)}"
    )
    assert highest - early < 48 * 2**20
