"""An archive of Parquet files without a manifest: an export, or a sample for a repository's CI."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from audit_analysis.archive.table import COLUMNS, PROCESSED_US, ArchivedEvent, rows_of
from audit_analysis.hunt.archive_hunt import HuntedFile
from auditflow.errors import AuditFlowError


class InvalidFiles(AuditFlowError):
    """Files cannot be read, or do not have the columns of the archive."""


class FileArchive:
    """A ``HuntedArchive`` of the Parquet files at some paths, which are files or folders."""

    def __init__(self, paths: Iterable[Path]) -> None:
        found: set[Path] = set()
        for path in paths:
            found |= set(path.rglob("*.parquet")) if path.is_dir() else {path}
        self.paths = sorted(path.resolve() for path in found)
        if not self.paths:
            raise InvalidFiles("there are no Parquet files at the paths")
        with duckdb.connect(
            config={"autoinstall_known_extensions": "false", "threads": 1}
        ) as connection:
            self._files = [_describe(connection, path) for path in self.paths]

    def files(self, *, since_ms: int, sources: Sequence[str] | None) -> list[HuntedFile]:
        """See ``HuntedArchive``. Files can have events of several sources."""
        del sources
        return [file for file in self._files if file.rows and file.max_occurred_ms >= since_ms]

    def pending(self) -> Sequence[ArchivedEvent]:
        """See ``HuntedArchive``. All events are in files."""
        return ()


def _describe(connection: duckdb.DuckDBPyConnection, path: Path) -> HuntedFile:
    try:
        described = connection.execute(
            "SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet($file))",
            {"file": str(path)},
        ).fetchall()
        missing = set(COLUMNS) - {name for (name,) in described}
        if missing:
            names = ", ".join(sorted(missing))
            raise InvalidFiles(
                f"{path}: is not a file of an archive: the columns {names} are missing"
            )
        row = connection.execute(
            "SELECT count(*), coalesce(min(occurred_ms), 0), coalesce(max(occurred_ms), 0),"
            f" coalesce(min({PROCESSED_US}), 0), coalesce(max({PROCESSED_US}), 0)"
            f" FROM {rows_of('$file')}",
            {"file": str(path)},
        ).fetchone()
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise InvalidFiles(f"{path}: cannot be read: {reason}") from None
    assert row is not None
    return HuntedFile(str(path), *row)
