"""Two replicas are killed while they send to a real SMTP server and a real HTTP server."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from auditflow_local.servers.postgres_roles import OWNER

ROUTES = """
route:
  receiver: web
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  routes:
  - {{receiver: mail, continue: true}}
  - {{receiver: web}}
receivers:
- {{name: web, rate_per_minute: 6000, burst: 1000, webhook: {{url: "{url}", key_secret: KEY}}}}
- {{name: mail, rate_per_minute: 6000, burst: 1000, apprise: {{secret: MAIL}}}}
"""
ALERTS = 12


@contextmanager
def _locked(dsn: str) -> Iterator[None]:
    """A transaction that lets nobody record what was sent."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE notifications IN SHARE MODE")
        yield


@pytest.mark.parametrize("kill_point", ["claimed", "sent", "answered"])
def test_two_replicas_are_killed_while_they_send(
    broker: Any, database: Any, service_process: Any, make_finding: Any, sink: Any, mailbox: Any,
    configured: Any, verified: Any, eventually: Any, query: Any, kill_point: str,
) -> None:  # fmt: skip
    # given two replicas, and receivers that take notifications but do not answer
    box, mail_url = mailbox
    env = configured(ROUTES.format(url=sink.url), MAIL=mail_url)
    replicas = [
        service_process("notification-service", rabbitmq=broker.server, database=database, env=env)
        for _ in range(2)
    ]
    sink.hold.clear()
    box.hold.clear()
    broker.send(*(make_finding(user=f"user-{number}") for number in range(ALERTS)))

    def sending() -> int:
        return int(
            query("SELECT count(DISTINCT receiver) FROM notifications WHERE status = 'sending'")[0][
                0
            ]
        )

    def kill() -> None:
        for replica in replicas:
            replica.kill()

    # when both are killed: after the claim, before the answer, or before the answer is recorded
    reached: dict[str, Callable[[], bool]] = {
        "claimed": lambda: sending() >= 1,
        "sent": lambda: len(sink.bodies) >= 2 and len(box.mails) >= 2,
    }
    if kill_point == "answered":
        eventually(reached["sent"], seconds=60)
        with _locked(database.dsn(OWNER)):
            sink.hold.set()
            box.hold.set()
            eventually(lambda: sink.answered >= 2 and box.answered >= 2, seconds=60)
            kill()
    else:
        eventually(reached[kill_point], seconds=60)
        kill()
    sink.hold.set()
    box.hold.set()
    interrupted = query("SELECT count(*) FROM notifications WHERE status = 'sending'")[0][0]
    assert interrupted >= 1

    # and their claims end, and a replica starts
    query("UPDATE notifications SET claimed_until = now() WHERE status = 'sending'")
    replicas[0].start()

    # then every alert is notified by both receivers, at least once
    eventually(
        lambda: (
            query("SELECT count(*) FROM notifications WHERE status = 'sent'") == [(2 * ALERTS,)]
        ),
        seconds=90,
    )
    assert verified(sink)
    ids: dict[str, set[str]] = {"web": set(), "mail": set()}
    for receiver, notification_id in query("SELECT receiver, notification_id FROM notifications"):
        ids[receiver].add(str(notification_id))
    keys = {
        "web": [headers["idempotency-key"] for headers in sink.headers],
        "mail": [mail["Idempotency-Key"] for _, mail in box.mails],
    }
    for receiver, received in keys.items():
        # repeats have the same key, and only interrupted notifications are repeated
        assert set(received) == ids[receiver]
        repeated = [key for key, times in Counter(received).items() if times > 1]
        assert len(repeated) <= interrupted
        if kill_point != "claimed":
            assert repeated
    actors = {notification["alerts"][0]["actor"] for notification in sink.received}
    assert actors == {f"user-{number}" for number in range(ALERTS)}
