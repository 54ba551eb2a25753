"""`auditflow dlq` against the platform: each command is a row of the audit trail."""

import getpass
import socket
from typing import Any

from click.testing import CliRunner

from auditflow.amqp import dead_letter_queue, topology
from auditflow.cli import main
from auditflow_local.polling import eventually
from auditflow_local.services import OPERATOR

from .platform import Platform

EVENTS = topology.QUEUES[0]


def test_each_command_is_recorded_with_who_what_and_from_where(platform: Platform) -> None:
    environment = {
        "RABBITMQ_HOST": platform.rabbitmq.host,
        "RABBITMQ_PORT": str(platform.rabbitmq.port),
        "RABBITMQ_USER": OPERATOR,
        "RABBITMQ_PASS": platform.rabbitmq.password_of(OPERATOR),
        "API_URL": platform.notification.url,
        "API_TOKEN": platform.secrets["API_TOKEN"],
    }

    def dlq(*arguments: str, **changed: str) -> str:
        result = CliRunner().invoke(main, ["dlq", *arguments], env={**environment, **changed})
        assert result.exit_code == 0, result.output
        return result.output

    with platform.broker() as channel:
        for body in (b"nonsense", b"[1"):
            channel.basic_publish("", EVENTS.name, body)
        eventually(lambda: dead_letter_queue.depth(channel, EVENTS) == 2, what="dead letters")
        dlq("list")
        dlq("show", "audit_events", "--limit", "1")
        assert "2 replayed" in dlq("replay", "audit_events", "--yes")
        eventually(lambda: dead_letter_queue.depth(channel, EVENTS) == 2, what="dead letters")
        assert "2 deleted" in dlq("discard", "audit_events", "--all", "--yes")

    rows = _rows(platform)
    account, host = getpass.getuser(), socket.gethostname()
    assert {(row["actor"], row["address"], row["outcome"]) for row in rows} == {
        (account, host, "done")
    }
    assert [(row["action"], row["target"], row["detail"]) for row in rows] == [
        ("dlq listed", "", {}),
        ("dlq shown", "audit_events.dlq", {"messages": "1"}),
        ("dlq replayed", "audit_events.dlq", {"step": "started", "waiting": "2"}),
        ("dlq replayed", "audit_events.dlq", {"step": "ended", "replayed": "2", "left": "0"}),
        ("dlq deleted", "audit_events.dlq", {"step": "started", "waiting": "2"}),
        ("dlq deleted", "audit_events.dlq", {"step": "ended", "deleted": "2", "left": "0"}),
    ]


def test_a_wrong_token_prevents_a_replay(platform: Platform) -> None:
    result = CliRunner().invoke(
        main,
        ["dlq", "discard", "audit_events", "--all", "--yes"],
        env={
            "RABBITMQ_HOST": platform.rabbitmq.host,
            "RABBITMQ_PORT": str(platform.rabbitmq.port),
            "RABBITMQ_USER": OPERATOR,
            "RABBITMQ_PASS": platform.rabbitmq.password_of(OPERATOR),
            "API_URL": platform.notification.url,
            "API_TOKEN": "wrong",
        },
    )
    assert result.exit_code == 1
    assert "401" in result.output
    assert "wrong" not in result.output


def _rows(platform: Platform) -> list[dict[str, Any]]:
    with platform.api() as client:
        page = client.get("/api/v1/audit").raise_for_status().json()
    return [row for row in page["entries"][::-1] if row["action"].startswith("dlq")]
