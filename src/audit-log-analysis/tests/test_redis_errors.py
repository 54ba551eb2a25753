"""A Redis that refuses for now is waited for: nothing that it said is a fault of the events."""

import uuid
from pathlib import Path
from typing import Any

import pytest
import redis

from audit_analysis.windows import Observation, WindowSpec
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow.errors import Unavailable

SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)


@pytest.mark.parametrize(
    ("setting", "value", "code", "usual"),
    [("maxmemory", "1", "OOM", "256mb"), ("min-replicas-to-write", "1", "NOREPLICAS", "0")],
)
def test_what_passes_by_itself_is_unavailable(
    make_redis: Any, tmp_path: Path, setting: str, value: str, code: str, usual: str
) -> None:
    server = make_redis(tmp_path)
    batch = [Observation(SPEC, str(uuid.uuid4()), "one", 1_800_000_000_000, b"raw")]
    with (
        redis.Redis.from_url(server.admin_url) as admin,
        redis.Redis.from_url(server.url) as client,
    ):
        windows = RedisWindows(client)
        admin.config_set(setting, value)
        with pytest.raises(Unavailable, match=code):
            windows.observe(batch)
        admin.config_set(setting, usual)
        assert len(windows.observe(batch)) == 1
