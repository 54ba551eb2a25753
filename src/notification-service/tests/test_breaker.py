"""The circuit breaker of connections to the database, with a real server that goes and comes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditflow.errors import Unavailable
from auditflow_local.servers.postgres import Database
from notification_service.database.breaker import FAILURES, GuardedConnect
from notification_service.database.connection import connect
from notification_service.database.pool import Pool


def test_attempts_are_few_while_the_database_is_unavailable(
    make_postgres: Callable[[Path], Any], tmp_path: Path, settings_for: Any, eventually: Any
) -> None:
    # given a database that is unavailable
    server = make_postgres(tmp_path)
    settings = settings_for(Database(server, "auditflow"))
    attempts: list[float] = []
    changes: list[bool] = []

    def open_connection() -> Any:
        attempts.append(time.monotonic())
        return connect(settings, name="test", statement_seconds=60)

    pool = Pool(GuardedConnect(open_connection, on_change=changes.append), size=1, wait_seconds=0)
    server.stop()

    # when it is asked for often
    for _ in range(50):
        with pytest.raises(Unavailable), pool.connection():
            pass

    # then only a few attempts were made, and when it is back, the circuit closes
    assert FAILURES <= len(attempts) < 50
    assert changes[0] is True
    server.start()

    def works() -> bool:
        try:
            with pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Unavailable:
            return False
        return True

    eventually(works)
    assert changes[-1] is False
    pool.close()
