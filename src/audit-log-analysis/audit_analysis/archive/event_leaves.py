"""The leaves of the Merkle tree of the events of a file (RFC 6962). Pure.

The leaf of an event is a line with the time of receipt, the time of occurrence, 1 if it was refused
or else 0, and the length of the identifier in bytes; then the identifier, a line feed, and the
record. The length makes the fields unambiguous. ``src/audit-verifier/verify_event.py`` builds the
same leaf without this code, so the format must not change.
"""

from typing import Final

from audit_analysis.archive.table import ArchivedEvent

#: The same hash in DuckDB, as hexadecimal text, for a row of a file.
LEAF_HASH: Final = (
    "sha256('\\x00'::BLOB || encode(received_ms || ' ' || occurred_ms || ' ' || refused::INTEGER"
    " || ' ' || strlen(event_id) || chr(10) || event_id || chr(10)) || record)"
)


def leaf_of(event: ArchivedEvent) -> bytes:
    """The data of the leaf of an event."""
    event_id = event.event_id.encode()
    line = f"{event.received_ms} {event.occurred_ms} {int(event.refused)} {len(event_id)}"
    return b"%b\n%b\n%b" % (line.encode(), event_id, event.record)
