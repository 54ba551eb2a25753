"""Failed logins in an archive, and hunts among them."""

import sys
from collections.abc import Callable
from typing import Any

import msgspec
from src.tests.archived_events import START_MS, archived

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.hunt.runner import HuntRunner
from auditflow.contract import event
from auditflow.contract.finding import Finding
from auditflow.contract.hunts import Hunt, HuntRequest

RULE = "Burst of failed logins"
SINCE = event.from_epoch_ms(START_MS - 86_400_000)
UNTIL = event.from_epoch_ms(START_MS + 86_400_000)
#: A process of a hunt that never has a result.
BLOCKED = (sys.executable, "-c", "import sys; sys.stdin.read()")
Eventually = Callable[..., None]
MakeRunner = Callable[..., HuntRunner]


def failed_login(number: int, user: str) -> ArchivedEvent:
    record = msgspec.json.encode(
        {
            "event_id": f"{user}-{number}",
            "timestamp": event.from_epoch_ms(START_MS + number * 1000), "event_type": "user_login",
            "action_result": "FAILURE", "user_id": user, "server_hostname": "web-01",
        }
    )  # fmt: skip
    return archived(
        number, event_id=f"{user}-{number}", source="other", product=None, record=record, user=user,
        action_result="FAILURE",
    )  # fmt: skip


#: Bob's last events are not in a file yet.
FILED = [
    failed_login(n, user) for n in range(6) for user in ("alice", "bob") if (user, n) < ("bob", 3)
]
PENDING = [failed_login(number, "bob") for number in range(3, 6)]


def ended(runner: HuntRunner, hunt: Hunt, eventually: Eventually) -> Hunt:
    def is_final() -> bool:
        found = runner.get(hunt.hunt_id)
        return found is not None and found.state.is_final

    eventually(is_final, what="the end of the hunt", seconds=60)
    found = runner.get(hunt.hunt_id)
    assert found is not None
    return found


def findings_of(runner: HuntRunner, hunt: Hunt) -> list[Finding]:
    path = runner.findings(hunt.hunt_id)
    assert path is not None
    return msgspec.json.Decoder(Finding).decode_lines(path.read_bytes())


def request(**changes: Any) -> HuntRequest:
    return msgspec.structs.replace(HuntRequest(rule=RULE, since=SINCE, until=UNTIL), **changes)
