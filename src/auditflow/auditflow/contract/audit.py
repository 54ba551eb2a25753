"""The audit logs and the audit trail, as the API shows them.

An audit log is a Merkle tree of entries with signed checkpoints.

The layout of tiles and checkpoints is that of https://c2sp.org/tlog-tiles. Hashes are SHA-256, in
base64.
"""

import datetime as dt
from typing import Annotated, Final, Literal, get_args
from uuid import UUID

from msgspec import Meta, Struct, field

Hashes = Annotated[tuple[bytes, ...], Meta(description="Hashes of 32 bytes, in base64.")]


class AuditLogSummary(Struct, frozen=True, kw_only=True):
    """An audit log."""

    name: Annotated[str, Meta(description="The name in paths.")]
    origin: Annotated[str, Meta(description="The first line of its checkpoints.")]
    size: Annotated[int, Meta(description="The number of entries that are signed.")]
    public_key: Annotated[
        str,
        Meta(
            description="The key that signs. Store it outside of this system when you see it for "
            "the first time: a key from the system that you verify proves nothing."
        ),
    ]


class AuditLogList(Struct, frozen=True):
    """All audit logs. Empty if this service has no key to sign with."""

    logs: tuple[AuditLogSummary, ...]


class InclusionProof(Struct, frozen=True, kw_only=True):
    """An entry, and the proof that a tree contains it (RFC 9162, section 2.1.3)."""

    number: Annotated[int, Meta(description="The number of the entry, from 1.")]
    size: Annotated[int, Meta(description="The number of entries of the tree.")]
    entry: Annotated[str, Meta(description="The entry. Its UTF-8 bytes are the leaf.")]
    leaf_hash: bytes
    proof: Hashes


class ConsistencyProof(Struct, frozen=True, kw_only=True):
    """The proof that a tree is the beginning of a larger one (RFC 9162, section 2.1.4)."""

    old_size: int
    size: int
    proof: Hashes


class LoggedFinding(Struct, frozen=True):
    """A version of a finding in the log of findings."""

    finding_id: UUID
    month: Annotated[str, Meta(description="The month of its bucket, for example 2026-01.")]
    sha256: Annotated[str, Meta(description="The SHA-256 of its document, in hexadecimal.")]


class FindingLogEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of the log of findings: what one transaction stored, or what retention deletes."""

    at: dt.datetime
    findings: tuple[LoggedFinding, ...] = ()
    expired_before: Annotated[
        str | None, Meta(description="Retention deletes findings of the months before this month.")
    ] = None
    added_later: Annotated[
        bool,
        Meta(
            description="The findings were stored before, without an entry. The log proves nothing "
            "about the time before this entry."
        ),
    ] = False


class FindingDocument(Struct, frozen=True, kw_only=True):
    """A stored finding. The newest entry of the log about it has the SHA-256 of its document."""

    finding_id: UUID
    document: Annotated[str, Meta(description="The finding as JSON. Its UTF-8 bytes are hashed.")]


class FindingDocuments(Struct, frozen=True, kw_only=True):
    """A page of all stored findings, by their identifiers."""

    documents: tuple[FindingDocument, ...]
    next_after: Annotated[
        UUID | None, Meta(description="Pass as `after` for the next page; null on the last page.")
    ]


class LoggedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of the event archive, in the log of files."""

    path: str
    sha256: Annotated[str, Meta(description="The SHA-256 of the file, in hexadecimal.")]
    size: Annotated[int, Meta(description="The size of the file in bytes.")]
    rows: Annotated[int, Meta(description="The number of events.")]
    received_until_ms: Annotated[
        int, Meta(description="The receipt of the newest event, in milliseconds since 1970.")
    ]
    events_root: Annotated[
        str | None,
        Meta(
            description="The root of the Merkle tree (RFC 6962) of the events in their order, in "
            "hexadecimal. Null: the file is older than the log."
        ),
    ] = None


class RemovedFile(Struct, frozen=True):
    """A file that does not belong to the event archive any more."""

    path: str
    reason: Annotated[
        Literal["merged", "expired"],
        Meta(description="Merged into files of the same transaction, or older than retention."),
    ]


class FileLogEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of the log of files: what one transaction added to the archive and removed."""

    at: dt.datetime
    added: tuple[LoggedFile, ...] = ()
    removed: tuple[RemovedFile, ...] = ()


class ArchivedFileHash(Struct, frozen=True, kw_only=True):
    """A file of the event archive, and the hash of its present content."""

    path: str
    sha256: Annotated[
        str | None,
        Meta(description="The SHA-256 of the file, computed now. Null: the file is missing."),
    ]


class ArchivedFileHashes(Struct, frozen=True, kw_only=True):
    """A page of all files of the event archive, by their paths."""

    files: tuple[ArchivedFileHash, ...]
    next_after: Annotated[
        str | None, Meta(description="Pass as `after` for the next page; null on the last page.")
    ]


class ArchivedEventProof(Struct, frozen=True, kw_only=True):
    """An archived event, and the proof that it is in a file of the log of files.

    The leaf of an event is the line `RECEIVED_MS OCCURRED_MS REFUSED LENGTH`, a line feed, the
    identifier of the event, a line feed, and the record. REFUSED is 0 or 1; LENGTH is the length of
    the identifier in bytes (UTF-8).
    """

    event_id: str
    received_ms: int
    occurred_ms: int
    refused: bool
    record: Annotated[bytes, Meta(description="The record as it arrived, in base64.")]
    file: LoggedFile
    position: Annotated[int, Meta(description="The row of the event in the file, from 0.")]
    proof: Hashes
    log_number: Annotated[int, Meta(description="The entry of the log of files with the file.")]


class ExportedEventProof(Struct, frozen=True, kw_only=True):
    """All that a program needs to verify that an event is archived, except the public key."""

    event: ArchivedEventProof
    entry: InclusionProof
    checkpoint: Annotated[str, Meta(description="A signed checkpoint of the log of files.")]


#: The route of the audit trail, for reading and for reports.
TRAIL_PATH: Final = "/api/v1/audit"
#: Longest text of an entry of the audit trail, in characters.
MAX_TRAIL_TEXT: Final = 500
#: Time in which an equal read of the same caller is recorded once in the audit trail, in seconds.
REPEAT_SECONDS: Final = 60.0

TrailText = Annotated[str, Meta(max_length=MAX_TRAIL_TEXT, pattern=r"^[^\x00]*$")]


def trail_text(value: str) -> str:
    """The text as the audit trail can store it: valid UTF-8, without NUL, and not too long."""
    return value.encode("utf-8", "replace").decode().replace("\0", "?")[:MAX_TRAIL_TEXT]


Outcome = Literal["done", "refused", "failed"]
#: What the archive process reports about its caller, with the token of this caller.
SearchAction = Literal[
    "archive searched",
    "archive counted",
    "archived event shown",
    "archived event proved",
    "archive exported",
    "archived files listed",
    "hunt started",
    "hunt cancelled",
    "hunt shown",
    "hunt findings read",
]
SEARCH_ACTIONS: Final[frozenset[str]] = frozenset(get_args(SearchAction))
#: What other parts of the platform report.
ReportedAction = Literal[
    SearchAction,
    "sign-in accepted",
    "sign-in refused",
    "sign-in throttled",
    "signed out",
    "sessions ended",
    "page shown",
    "dlq listed",
    "dlq shown",
    "dlq replayed",
    "dlq deleted",
]


class TrailReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person did at another part of the platform.

    The service token may report everything, an API token with the scope admin what it did itself.
    Every caller may report its own searches of the archive: the archive process does so.
    """

    actor: Annotated[
        TrailText,
        Meta(description="The name that the person gave. The name of an API token replaces it."),
    ]
    action: ReportedAction
    outcome: Outcome = "done"
    address: Annotated[TrailText, Meta(description="The client's address.")] = ""
    target: TrailText = ""
    detail: Annotated[
        dict[TrailText, TrailText], Meta(max_length=20, description="More facts.")
    ] = field(default_factory=dict)


class TrailReports(Struct, frozen=True, forbid_unknown_fields=True):
    """What people did at another part of the platform."""

    reports: Annotated[tuple[TrailReport, ...], Meta(min_length=1, max_length=100)]


class TrailEntry(Struct, frozen=True, kw_only=True):
    """What a person or a token did: who, what, from where."""

    number: int
    at: dt.datetime
    actor: Annotated[str, Meta(description="Empty: unknown, because no valid token was sent.")]
    actor_kind: Literal["person", "token", "unknown"]
    action: Annotated[str, Meta(description="For example `alert shown`.")]
    outcome: Outcome
    address: Annotated[str, Meta(description="The address of the client.")] = ""
    target: Annotated[str, Meta(description="The identifier or name that the action is about.")] = (
        ""
    )
    detail: Annotated[dict[str, str], Meta(description="Parameters and other facts.")] = field(
        default_factory=dict
    )
    status: Annotated[int | None, Meta(description="The status code of the answer.")] = None
    correlation_id: str = ""


class AuditTrail(Struct, frozen=True):
    """A page of the audit trail, the newest first."""

    entries: tuple[TrailEntry, ...]
    next_before: Annotated[int | None, Meta(description="Pass as `before` for older entries.")]


class StoredReports(Struct, frozen=True):
    """The number of reports that were stored."""

    stored: int
