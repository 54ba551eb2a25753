"""The comparison of stored findings with their audit log. Pure: the caller reads both."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract.audit import FindingDocument, FindingLogEntry
from auditflow.errors import AuditFlowError

#: Differences that an error lists.
_LISTED: Final = 5
_decode = msgspec.json.Decoder(FindingLogEntry).decode


class FindingsChanged(AuditFlowError):
    """Stored findings are not those of the log. The text lists some of them."""


class FindingLog:
    """The versions of each finding, oldest first, and the months that expired."""

    def __init__(self) -> None:
        self.versions: dict[UUID, list[str]] = {}
        self.months: dict[UUID, str] = {}
        self.expired_before = ""
        #: Findings whose first entry was added after they had been stored.
        self.added_later: set[UUID] = set()

    def add(self, entry: bytes) -> None:
        """Add the next entry of the log. Raises FindingsChanged if it is no entry."""
        try:
            decoded = _decode(entry)
        except msgspec.MsgspecError as error:
            raise FindingsChanged(f"an entry of the log is invalid: {error}") from None
        for finding in decoded.findings:
            if decoded.added_later and finding.finding_id not in self.versions:
                self.added_later.add(finding.finding_id)
            self.versions.setdefault(finding.finding_id, []).append(finding.sha256)
            self.months[finding.finding_id] = finding.month
        self.expired_before = max(self.expired_before, decoded.expired_before or "")


class Result(Struct, frozen=True):
    """The numbers of stored findings, of those without an entry, and of those added later."""

    findings: int
    without_entry: int
    added_later: int = 0


def check(
    before: FindingLog,
    documents: Iterable[FindingDocument],
    read_log: Callable[[], FindingLog | None],
) -> Result:
    """Compare all stored findings with the log.

    ``before`` is the log before the documents were read. ``read_log`` waits and reads it again:
    findings may be stored meanwhile, and their entries are signed a second later. It returns None
    after some attempts.

    Raises:
        FindingsChanged: findings were changed, deleted or exchanged.
    """
    newest = {finding_id: len(versions) - 1 for finding_id, versions in before.versions.items()}
    differing: dict[UUID, str] = {}
    missing = set(newest)
    number = added_later = 0
    for item in documents:
        number += 1
        added_later += item.finding_id in before.added_later
        digest = hashlib.sha256(item.document.encode()).hexdigest()
        missing.discard(item.finding_id)
        if before.versions.get(item.finding_id, [""])[-1] != digest:
            differing[item.finding_id] = digest
    log: FindingLog | None = before
    without_entry: set[UUID] = set()
    while log is not None and (differing or missing):
        differing = {
            finding_id: digest
            for finding_id, digest in differing.items()
            if digest not in log.versions.get(finding_id, ())[newest.get(finding_id, 0) :]
        }
        missing = {it for it in missing if log.months.get(it, "9999") >= log.expired_before}
        without_entry = {it for it in differing if it not in log.versions}
        if log is not before and not missing and len(without_entry) == len(differing):
            break
        log = read_log()
    changed = differing.keys() - without_entry
    if changed or missing:
        raise FindingsChanged("; ".join(_texts(changed, missing)))
    return Result(number, len(without_entry), added_later)


def _texts(changed: Iterable[UUID], missing: Iterable[UUID]) -> Iterable[str]:
    for word, found in (("are not as they were stored", changed), ("are missing", missing)):
        if listed := sorted(map(str, found)):
            more = ", ..." if len(listed) > _LISTED else ""
            yield f"{len(listed)} findings {word}: {', '.join(listed[:_LISTED])}{more}"
