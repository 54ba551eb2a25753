"""Records of the audit trail."""

import datetime as dt
from typing import Any

from notification_service.audit.trail import Record


def record(action: str, **fields: Any) -> Record:
    """A record of Alice. ``fields`` replaces values."""
    defaults: dict[str, Any] = {
        "at": dt.datetime.now(dt.UTC), "actor": "alice", "actor_kind": "person", "outcome": "done"
    }  # fmt: skip
    return Record(action=action, **{**defaults, **fields})
