"""Entries of the audit log of findings.

A transaction that stores findings adds one entry: for each finding its identifier, the month of its
bucket, and the SHA-256 of its document. The newest entry of a finding describes its stored version.
Retention adds an entry with the month before which it deletes findings.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final
from uuid import UUID

import msgspec

from auditflow.contract.audit import FindingLogEntry, LoggedFinding

#: Findings in one entry. An entry has at most 64 KiB.
MAX_FINDINGS: Final = 400
#: Statement that adds entries, its parameter, in the transaction of a cursor.
INSERT: Final = "INSERT INTO finding_log_outbox (entry) SELECT unnest(%(entries)s::text[])"

_by_hash = attrgetter("sha256")


def of_documents(
    documents: Iterable[tuple[UUID, str, bytes]], *, at: dt.datetime, added_later: bool = False
) -> Iterator[str]:
    """The entries of a transaction: for each finding its identifier, its month and its document."""
    findings = [
        LoggedFinding(finding_id, month, hashlib.sha256(document).hexdigest())
        for finding_id, month, document in documents
    ]
    findings.sort(key=_by_hash)
    for start in range(0, len(findings), MAX_FINDINGS):
        part = tuple(findings[start : start + MAX_FINDINGS])
        entry = FindingLogEntry(at=at, findings=part, added_later=added_later)
        yield msgspec.json.encode(entry).decode()


def of_retention(cutoff: dt.datetime, *, at: dt.datetime) -> str:
    """The entry of a deletion of the findings of the months before ``cutoff``."""
    entry = FindingLogEntry(at=at, expired_before=month_of(cutoff))
    return msgspec.json.encode(entry).decode()


def month_of(time: dt.datetime) -> str:
    """The month of a time in UTC, for example 2026-01."""
    return f"{time.year}-{time.month:02}"
