"""The hunts of the archive process, in files, so that they survive the end of the process.

A hunt has a folder: ``hunt.json`` has its state, ``rules.yml`` the rules of the request,
``pending.msgpack`` the events that were in no file when it started, ``checkpoint`` and
``progress.json`` how far it is, ``outcome.json`` and ``findings.ndjson`` its result.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.hunt.archive_hunt import Progress
from auditflow.contract.finding import Finding
from auditflow.contract.hunts import Hunt
from auditflow.telemetry import logs

#: The folder of the hunts, inside the folder of the archive.
HUNTS: Final = ".hunts"

_S = TypeVar("_S")
log = logs.get(__name__)


class HuntOutcome(Struct, frozen=True):
    """The end of the process of a hunt. ``is_temporary``: a repetition can succeed."""

    findings: int = 0
    candidates: int = 0
    refused: int = 0
    total_events: int = 0
    error: str | None = None
    is_temporary: bool = False


class HuntJob:
    """The files of one hunt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules = folder / "rules.yml"
        self.checkpoint = folder / "checkpoint"
        self.findings = folder / "findings.ndjson"
        self.spill = folder / "spill"
        self.lock = folder / "lock"

    def read(self) -> Hunt | None:
        """The state of the hunt; None if there is none."""
        return _read(self.folder / "hunt.json", Hunt)

    def write(self, hunt: Hunt) -> None:
        """Replace the state of the hunt."""
        _write(self.folder / "hunt.json", msgspec.json.encode(hunt))

    def progress(self) -> Progress | None:
        """The progress of the hunt."""
        return _read(self.folder / "progress.json", Progress)

    def write_progress(self, progress: Progress) -> None:
        """Replace the progress."""
        _write(self.folder / "progress.json", msgspec.json.encode(progress))

    def outcome(self) -> HuntOutcome | None:
        """The end of the process; None if this process ended it."""
        return _read(self.folder / "outcome.json", HuntOutcome)

    def write_outcome(self, outcome: HuntOutcome) -> None:
        """Write how the process ended."""
        _write(self.folder / "outcome.json", msgspec.json.encode(outcome))

    def begin(self, pending: Sequence[ArchivedEvent]) -> None:
        """Prepare a start of the process with the events that are in no file yet."""
        (self.folder / "outcome.json").unlink(missing_ok=True)
        encoded = msgspec.msgpack.encode([tuple(row) for row in pending])
        _write(self.folder / "pending.msgpack", encoded)

    def pending(self) -> Sequence[ArchivedEvent]:
        """The events that were in no file when the process was started."""
        data = (self.folder / "pending.msgpack").read_bytes()
        return msgspec.msgpack.decode(data, type=list[ArchivedEvent])

    def write_findings(self, findings: Iterable[Finding]) -> None:
        """Write the findings, one a line."""
        unfinished = self.findings.with_suffix(".unfinished")
        encoder = msgspec.json.Encoder()
        with unfinished.open("wb") as file:
            for found in findings:
                file.write(encoder.encode(found) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.findings)

    def end(self) -> None:
        """Delete the files that only a running hunt needs."""
        for name in ("pending.msgpack", "checkpoint", "progress.json", "lock"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.spill, ignore_errors=True)


class HuntJobs:
    """All hunts of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def job(self, hunt_id: UUID) -> HuntJob:
        """The files of a hunt."""
        return HuntJob(self._folder / str(hunt_id))

    def create(self, hunt: Hunt, rules: str | None) -> HuntJob:
        """Store a new hunt. It exists as soon as its state is written."""
        job = self.job(hunt.hunt_id)
        job.folder.mkdir(parents=True)
        if rules is not None:
            job.rules.write_bytes(rules.encode(errors="replace"))
        job.write(hunt)
        return job

    def read_all(self) -> list[Hunt]:
        """All hunts, the oldest first. A damaged one is reported in the log and skipped."""
        found = []
        try:
            folders = list(self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:  # the archive process can work without hunts
            log.warning("hunts cannot be read", path=str(self._folder), error=str(error))
            return []
        for folder in folders:
            try:
                hunt = HuntJob(folder).read()
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                log.warning(
                    "the state of a hunt cannot be read", path=str(folder), error=str(error)
                )
                continue
            if hunt is not None and folder.name == str(hunt.hunt_id):
                found.append(hunt)
        return sorted(found, key=lambda hunt: (hunt.created_at, hunt.hunt_id))

    def delete(self, hunt_id: UUID) -> None:
        """Delete a hunt."""
        shutil.rmtree(self.job(hunt_id).folder, ignore_errors=True)


def _read(path: Path, kind: type[_S]) -> _S | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Replace a file. A killed process leaves the previous content or this one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
