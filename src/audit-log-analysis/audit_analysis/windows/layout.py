"""Limits and names of the data in Redis. The Lua scripts receive the numbers from here."""

from typing import Final

from audit_analysis.windows.spec import SLICES
from auditflow.contract.finding import MAX_EVIDENCE

#: A window expires when it was not accessed for its retention and this time (seconds). This is the
#: longest outage of the analysis that windows survive.
OUTAGE_SECONDS: Final = 6 * 3600
#: The expiry of a key is renewed only after this time, because each renewal is written to disk. The
#: expiry is longer by the same time (seconds).
SLACK_SECONDS: Final = 600
#: Maximum number of events of a window that is one value. Larger windows have keys of their own.
MAX_SMALL: Final = 16
#: Maximum number of stored events that one window refers to.
MAX_STORED_EVENTS: Final = 256
#: Maximum size of a window's events (bytes). It only matters for very long event ids.
WINDOW_BYTES: Final = 2 * 1024 * 1024
#: Maximum number of events whose tags a summary of a large window has. It is not less than the
#: number of observations of a window in one call.
MAX_TAGS: Final = 200
#: Number of shards of each rule. A shard is one key with many small windows.
SHARDS: Final = 1024
#: Tags longer than this are replaced by a hash (bytes).
MAX_TAG_BYTES: Final = 64
#: The prefix of the hash of a long tag.
HASHED_TAG: Final = "blake2b:"

#: The constants of the Lua scripts.
LUA_CONSTANTS: Final = {
    "SLICES": SLICES,
    "SLACK_SECONDS": SLACK_SECONDS,
    "MAX_EVIDENCE": MAX_EVIDENCE,
    "MAX_STORED_EVENTS": MAX_STORED_EVENTS,
    "MAX_SMALL": MAX_SMALL,
    "WINDOW_BYTES": WINDOW_BYTES,
    "MAX_TAGS": MAX_TAGS,
}

#: The prefix of the keys of shards. The hash tag is the number of the shard, so in a Redis cluster
#: all windows with the same shard number are on the same node.
SHARD_PREFIX: Final = "w:"
#: The prefix of all keys of stored events.
EVENTS_PREFIX: Final = "{events}:"
#: The hash with the stored bytes of each source.
EVENT_SIZES: Final = EVENTS_PREFIX + "sizes"
#: The prefix of the lists of chunks, by source.
EVENT_QUEUES: Final = EVENTS_PREFIX + "queue:"
#: The prefix of chunks of stored events.
EVENT_CHUNKS: Final = EVENTS_PREFIX + "chunk:"
