"""Specifications, keys and observations for tests of windows in Redis."""

from audit_analysis.windows import BucketSummary, Observation, ObservationResult, WindowSpec
from audit_analysis.windows.redis_windows import RedisWindows
from audit_analysis.windows.request import shard

NOON = 1_800_000_000_000


SPEC = WindowSpec(threshold=3, timespan=60_000, dedup=300_000, lateness=900_000)


#: A window that is full and sketched soon.
SMALL = WindowSpec(threshold=3, timespan=60_000, dedup=60_000, lateness=60_000)


def shard_key(key: str, spec: WindowSpec = SPEC) -> str:
    return f"w:{spec.pool}:{{{shard(key)}}}"


def key_of(key: str, name: str, spec: WindowSpec = SPEC) -> str:
    """The name of a key of a large window."""
    return f"{shard_key(key, spec)}:{key}:{name}"


def observe(
    windows: RedisWindows,
    key: str,
    seconds: float,
    *,
    spec: WindowSpec = SPEC,
    raw: bytes = b"raw",
    event_id: str | None = None,
) -> ObservationResult:
    """Observe one event at ``seconds`` after noon."""
    event_id = event_id or f"e{seconds}"
    (result,) = windows.observe([Observation(spec, key, event_id, NOON + int(seconds * 1000), raw)])
    return result


def last_summary(results: list[ObservationResult]) -> BucketSummary:
    return [summary for result in results for summary in result.summaries][-1]
