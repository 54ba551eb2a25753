"""What the tests of the analysis share."""

from typing import Any

import pytest
import redis

from audit_analysis.windows.redis import RedisWindows


@pytest.fixture(scope="session")
def redis_windows(redis_server: Any) -> RedisWindows:
    return RedisWindows(redis.Redis.from_url(redis_server.url))
