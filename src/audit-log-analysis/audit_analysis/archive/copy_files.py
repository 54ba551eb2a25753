"""Copies the files of an archive in a folder to a tar stream, and back.

``python -m audit_analysis.archive.copy_files save > FILE`` and ``... load < FILE``, in a container
of the archive. It needs no other program there, and works with any volume. The manifest has a
backup of its own: docs/how-to/keep-archived-events.md.
"""

import argparse
import shutil
import sys
import tarfile
import uuid
from pathlib import Path, PurePosixPath
from typing import IO, Final

import click

from audit_analysis.archive.settings import StorageSettings
from audit_analysis.archive.storage import UNFINISHED, FolderStorage
from auditflow import settings
from auditflow.errors import Unavailable

_SUFFIX: Final = ".parquet"
#: The last member of the stream. Without it, a stream that ends between two files looks complete.
_LAST: Final = ".complete"


class InvalidCopy(Exception):
    """The stream is not a complete copy of an archive."""


def save(folder: Path, target: IO[bytes]) -> int:
    """Write all complete files to a stream. Returns their number. Raises Unavailable."""
    count = 0
    with tarfile.open(fileobj=target, mode="w|") as stream:
        for file in FolderStorage(folder).files():
            try:
                stream.add(folder / file.path, arcname=file.path, recursive=False)
            except FileNotFoundError:  # replaced by a merged file meanwhile
                continue
            count += 1
        stream.addfile(tarfile.TarInfo(_LAST))
    return count


def load(folder: Path, source: IO[bytes]) -> int:
    """Store the files of a stream that are missing in the folder. Returns their number.

    Each file is stored completely or not at all, with the present time as its time of change:
    files without an entry in the manifest are deleted after a day.

    Raises:
        InvalidCopy: the stream ends early, or contains something else than files of an archive.
        Unavailable: a file cannot be stored.
    """
    storage = FolderStorage(folder)
    unfinished = folder / UNFINISHED / f"copy-{uuid.uuid4()}"
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    count, complete = 0, False
    try:
        with tarfile.open(fileobj=source, mode="r|") as stream:
            for member in stream:
                complete = member.name == _LAST
                if complete:
                    continue
                path = PurePosixPath(member.name)
                hidden = any(part.startswith(".") for part in path.parts)
                if path.is_absolute() or hidden or path.suffix != _SUFFIX or not member.isreg():
                    raise InvalidCopy(f"not a file of an archive: {member.name!r}")
                content = stream.extractfile(member)
                if content is None or (folder / path).exists():
                    continue
                with unfinished.open("wb") as opened:
                    shutil.copyfileobj(content, opened)
                storage.store(unfinished, str(path))
                count += 1
    except tarfile.TarError as error:
        raise InvalidCopy(f"the stream is damaged or incomplete: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    if not complete:
        raise InvalidCopy(f"the stream is incomplete: it ended after {count} new files")
    return count


def main() -> None:
    """Copy the files, and print their number to the error output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direction", choices=("save", "load"))
    direction: str = parser.parse_args().direction
    folder = settings.load(StorageSettings).archive_folder
    try:
        if direction == "save":
            count = save(folder, sys.stdout.buffer)
        else:
            count = load(folder, sys.stdin.buffer)
    except (InvalidCopy, Unavailable, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    click.echo(f"{count} files copied", err=True)


if __name__ == "__main__":
    main()
