"""The table ``maintenance_progress``: up to which change of alerts a task has processed them."""

from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

_LOCK: Final = "SELECT pg_try_advisory_xact_lock(4713, %s)"
_PROGRESS: Final = """
    SELECT change_seq, alert_changes_horizon() FROM maintenance_progress WHERE task = %s
"""


def begin(cursor: Cursor, task: str, *, lock: int) -> tuple[int, int] | None:
    """Lock a task until the end of the transaction.

    ``lock`` is the number of its advisory lock. Returns the number of the last change that the task
    has processed, and the number up to which all changes are visible. Returns None if another
    replica processes the task.
    """
    cursor.execute(_LOCK, (lock,))
    if cursor.fetchone() != (True,):
        return None
    # A statement after the lock: its snapshot contains the progress of the last holder.
    cursor.execute(_PROGRESS, (task,))
    last, horizon = cursor.fetchone() or (0, 0)
    return last, horizon
