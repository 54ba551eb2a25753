"""Findings per second from a backlog to committed rows, beside COPY into the same tables."""

from __future__ import annotations

import datetime as dt
import io
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import msgspec
import psycopg2
from psycopg2 import sql

from auditflow.amqp import topology
from auditflow.contract import finding_message
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from auditflow_local.servers.postgres_roles import SUPERUSER

from . import streams
from .environment import Platform, cpu_seconds, wait_for

_RULE: Final = RuleRef(
    id="9d3b8f5e-2c40-4a1b-8f63-8f7f5b2f6d02",
    title="Sensitive file changed",
    revision="bench",
    level="high",
    tags=("attack.persistence", "attack.t1098"),
    runbook="https://example.org/runbook",
)
#: The default of FINDINGS_PER_MESSAGE.
_PER_MESSAGE: Final = 100
#: Tables with rows that are not copied: no finding writes to them.
_EXCLUDED: Final = ("alembic_version",)


@dataclass(frozen=True)
class Storage:
    """Measurement of one round, in findings per second, and CPU time per finding."""

    rate: float
    copy_rate: float
    #: CPU time of the notification service per finding, in microseconds.
    cpu: float


def findings(number: int, prefix: str) -> list[bytes]:
    """Return encoded findings. Each has an entity of its own, so each opens an alert."""
    return [
        _finding(msgspec.json.decode(body), body, f"{prefix}-{index}")
        for index, body in enumerate(streams.LOGINS.generate(number, prefix).bodies)
    ]


def fill(platform: Platform, number: int, prefix: str) -> None:
    """Store findings, each of which opens an alert."""
    before = platform.alerts()
    platform.publish(_arrays(findings(number, prefix)), queue=topology.FINDINGS)
    wait_for(lambda: platform.alerts() - before >= number, f"{number} alerts of findings")


def measure(platform: Platform, number: int, prefix: str) -> Storage:
    """Store a backlog of findings, then copy the same rows into the same tables."""
    messages = findings(number, prefix)
    change = platform.last_change()
    with platform.stopped(platform.notification):
        platform.publish(_arrays(messages), queue=topology.FINDINGS)
        started = platform.query("SELECT clock_timestamp()")[0][0]
        cpu = cpu_seconds(platform.notification)
        start = time.time()
    wait_for(
        lambda: platform.changed_alerts(change) >= number,
        f"{number} alerts of findings",
        every=0.1,
    )
    seconds = platform.last_alert_committed(change) - start
    cpu = cpu_seconds(platform.notification) - cpu
    return Storage(number / seconds, number / _copy_seconds(platform, started), cpu / number * 1e6)


def _arrays(messages: list[bytes]) -> list[bytes]:
    """The messages that the analysis sends if it has a backlog."""
    groups = finding_message.group(messages, size=len, maximum=_PER_MESSAGE)
    return [finding_message.encode((body, {}) for body in group) for group in groups]


def _finding(event: dict[str, str], body: bytes, user: str) -> bytes:
    timestamp = dt.datetime.fromisoformat(event["timestamp"])
    return msgspec.json.encode(
        Finding(
            finding_id=uuid.uuid4(),
            rule=_RULE,
            severity=Severity.WARNING,
            entity={"user_id": user},
            bucket_start=timestamp,
            first_seen=timestamp,
            last_seen=timestamp,
            count=1,
            description=f"{user} changed /etc/passwd on {event['server_hostname']}",
            evidence=Evidence(
                (EventRef(timestamp, event["event_id"]),), msgspec.Raw(body), msgspec.Raw(body)
            ),
            actor=user,
            client_ip=event["client_ip"],
            resource="/etc/passwd",
            server_hostname=event["server_hostname"],
        )
    )


def _copy_seconds(platform: Platform, since: dt.datetime) -> float:
    """Delete the rows that were written since a time, and insert them again with COPY.

    Rows are identified by the commit time of their transaction, so this works for any schema. The
    tables keep all other rows and their indexes. Triggers and foreign keys are not executed.
    """
    with (
        closing(psycopg2.connect(platform.postgres.dsn(SUPERUSER))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "SELECT c.oid::regclass::text, c.oid FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r'"
            " AND relname <> ALL (%s) ORDER BY 1",
            (list(_EXCLUDED),),
        )
        copies = []
        for table, oid in cursor.fetchall():
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0"
                " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
                (oid,),
            )
            columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in cursor.fetchall())
            recent = sql.SQL("pg_xact_commit_timestamp(xmin) > {}").format(sql.Literal(since))
            rows = io.StringIO()
            cursor.copy_expert(
                sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(
                    columns, sql.SQL(table), recent
                ),
                rows,
            )
            if rows.tell():
                rows.seek(0)
                cursor.execute(sql.SQL("DELETE FROM {} WHERE {}").format(sql.SQL(table), recent))
                copies.append((table, columns, rows))
        connection.commit()
        cursor.execute("SET session_replication_role = replica")
        start = time.perf_counter()
        for table, columns, rows in copies:
            cursor.copy_expert(
                sql.SQL("COPY {} ({}) FROM STDIN").format(sql.SQL(table), columns), rows
            )
        connection.commit()
        return time.perf_counter() - start
