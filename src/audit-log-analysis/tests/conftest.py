"""Fixtures of the tests of the analysis."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from audit_analysis.windows import WindowSpec
from audit_analysis.windows.redis_windows import RedisWindows
from auditflow_local import polling


@pytest.fixture(scope="session")
def redis_windows(redis_server: Any) -> Iterator[RedisWindows]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield RedisWindows(client)


#: Time, event id, tag.
Member = tuple[int, str, str]


@pytest.fixture(scope="session")
def is_hit() -> Callable[[int, set[Member], WindowSpec], bool]:
    """Whether a time is a hit: the definition in windows/spec.py, as plainly as it can be said."""
    return _is_hit


def _is_hit(end: int, members: set[Member], spec: WindowSpec) -> bool:
    within = [member for member in members if end - spec.timespan < member[0] <= end]
    if spec.kind == "event_count":
        return len(within) >= spec.threshold
    if spec.kind in ("value_count", "temporal"):
        return len({tag for _, _, tag in within}) >= spec.threshold

    def chain(stage: int, until: int, last: bool) -> bool:
        return stage == 0 or any(
            tag == str(stage) and (timestamp_ms == until if last else timestamp_ms <= until)
            and chain(stage - 1, timestamp_ms, False)
            for timestamp_ms, _, tag in within
        )  # fmt: skip

    return chain(spec.threshold, end, True)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Waits until a condition holds."""
    return polling.eventually
