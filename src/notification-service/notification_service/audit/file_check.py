"""The comparison of archived files with their audit log. Pure: the caller reads both."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from auditflow.contract.audit import FileLogEntry, LoggedFile
from auditflow.errors import AuditFlowError

#: Differences that an error lists.
_LISTED: Final = 5
_decode = msgspec.json.Decoder(FileLogEntry).decode


class FilesChanged(AuditFlowError):
    """Archived files are not those of the log. The text lists some of them."""


class FileLog:
    """The files of the archive according to the log.

    ``present`` has the files that belong to the archive, ``removed`` the reason for each other
    file. ``shortest_retention`` is the shortest time between the receipt of the newest event of a
    file and its expiry.
    """

    def __init__(self) -> None:
        self.present: dict[str, LoggedFile] = {}
        self.removed: dict[str, str] = {}
        self.shortest_retention: dt.timedelta | None = None
        self._seen: dict[str, LoggedFile] = {}

    def add(self, entry: bytes) -> None:
        """Add the next entry of the log.

        Raises:
            FilesChanged: it is no entry; or it gives a file another hash, or removes an unknown
                file.
        """
        try:
            decoded = _decode(entry)
        except msgspec.MsgspecError as error:
            raise FilesChanged(f"an entry of the log is invalid: {error}") from None
        for file in decoded.added:
            if self._seen.setdefault(file.path, file) != file:
                raise FilesChanged(f"the log has two versions of {file.path}")
            self.present[file.path] = file
            self.removed.pop(file.path, None)
        for item in decoded.removed:
            removed = self.present.pop(item.path, None)
            if removed is None:
                raise FilesChanged(f"the log removes {item.path}, which was not in the archive")
            self.removed[item.path] = item.reason
            if item.reason == "expired":
                received = dt.datetime.fromtimestamp(removed.received_until_ms / 1000, tz=dt.UTC)
                kept = decoded.at - received
                self.shortest_retention = min(self.shortest_retention or kept, kept)


class Result(Struct, frozen=True):
    """The numbers of files that were compared, and of files that merges and retention removed."""

    files: int
    merged: int
    expired: int
    shortest_retention: dt.timedelta | None


def check(
    before: FileLog,
    stored: Mapping[str, str | None],
    read_log: Callable[[], FileLog | None],
    *,
    is_complete: bool,
) -> Result:
    """Compare the hashes of stored files with the log. Hashes are hexadecimal, None is missing.

    ``before`` is the log before the files were read. ``read_log`` waits and reads it again: files
    may be added and removed meanwhile. It returns None after some attempts. ``is_complete``: each
    stored file must be in the log. (A folder may have files that never became part of the archive.)

    Raises:
        FilesChanged: files were changed, removed, replaced, or added without an entry.
    """
    changed = {
        path
        for path, digest in stored.items()
        if digest is not None and path in before.present and before.present[path].sha256 != digest
    }
    missing = {path for path in before.present if stored.get(path) is None}
    unknown = {path for path in stored if path not in before.present} if is_complete else set()
    newest = before
    while changed or missing or unknown:
        log = read_log()
        if log is None:
            raise FilesChanged("; ".join(_texts(changed, missing, unknown)))
        newest = log
        changed = {path for path in changed if path in log.present}
        missing = {path for path in missing if path in log.present}
        unknown = {
            path
            for path in unknown
            if not (
                path in log.removed
                or (path in log.present and log.present[path].sha256 == stored[path])
            )
        }
    reasons = list(newest.removed.values())
    return Result(
        len(before.present),
        reasons.count("merged"),
        reasons.count("expired"),
        newest.shortest_retention,
    )


def _texts(*groups: Iterable[str]) -> Iterable[str]:
    for words, found in zip(
        ("have another content", "are missing", "are not in the log"), groups, strict=True
    ):
        if listed := sorted(found):
            more = ", ..." if len(listed) > _LISTED else ""
            yield f"{len(listed)} files {words}: {', '.join(listed[:_LISTED])}{more}"
