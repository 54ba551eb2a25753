"""The process of one hunt: ``python -m audit_analysis.hunt.process FOLDER``.

A hunt has a process of its own, with a low priority and a limit of its memory, so that the writer
of the archive is never slowed down or ended by it. The process ends when its standard input ends,
so it never outlives the archive process.
"""

import fcntl
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.settings import HuntSettings, StorageSettings
from audit_analysis.archive.storage import open_storage
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.manifest_archive import ManifestArchive
from audit_analysis.events_api.query import to_ms
from audit_analysis.hunt import archive_hunt, checkpoint
from audit_analysis.hunt.archive_hunt import HuntResult, Progress
from audit_analysis.hunt.checkpoint import InvalidCheckpoint
from audit_analysis.hunt.jobs import HuntJob, HuntOutcome
from audit_analysis.sigma.errors import RuleErrors
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow import postgres, settings
from auditflow.contract.hunts import Hunt
from auditflow.errors import AuditFlowError, Unavailable
from auditflow.interpreter import tune_garbage_collector
from auditflow.settings import PostgresSettings

#: The niceness of the process. That of the writer's threads is 5.
_NICENESS: Final = 15
#: The part of the memory that DuckDB may use.
_DATABASE_SHARE: Final = 3
#: Time between two reports of the progress (seconds).
_REPORT_SECONDS: Final = 0.5
_STATEMENT_SECONDS: Final = 30.0
#: Maximum number of faults of rules in an error.
_MAX_FAULTS: Final = 5
_MEBIBYTE: Final = 1024 * 1024


class ProcessSettings(PostgresSettings, StorageSettings, HuntSettings):
    """The settings of the process, which it inherits from the archive process."""

    environment: str = "local"


def main() -> None:
    """Run the hunt of a folder, and write how it ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tune_garbage_collector()
    job = HuntJob(Path(sys.argv[1]))
    with job.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the process of an earlier start may still end
        job.write_outcome(_outcome(job))


def _outcome(job: HuntJob) -> HuntOutcome:
    try:
        read = settings.load(ProcessSettings)
        os.nice(_NICENESS)
        limit = read.archive_hunt_mebibytes * _MEBIBYTE
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        hunt = job.read()
        assert hunt is not None
        rules = _rules(job, hunt, read)
        result = _run(job, hunt, rules, read)
        job.write_findings(msgspec.structs.replace(found, retro=True) for found in result.findings)
        return HuntOutcome(
            findings=len(result.findings),
            candidates=result.candidates,
            refused=result.refused,
            total_events=result.total_events,
        )
    except Unavailable as error:
        return HuntOutcome(error=str(error), is_temporary=True)
    except RuleErrors as error:
        faults = [f"line {fault.line}: {fault.message}" for fault in error.faults[:_MAX_FAULTS]]
        return HuntOutcome(error=f"the rules cannot be used: {'; '.join(faults)}")
    except AuditFlowError as error:
        return HuntOutcome(error=str(error))
    except MemoryError:
        return HuntOutcome(error="the hunt needs more memory than its limit")


def _rules(job: HuntJob, hunt: Hunt, read: ProcessSettings) -> RuleSet:
    """The rules of the request, or the rule with the id or the title."""
    lateness = read.lateness_seconds * 1000
    if job.rules.exists():
        rules = load([job.rules], lateness=lateness)
        return rules.select([rule.ref.id for rule in rules.rules])
    rules = load(read.rules_paths, lateness=lateness)
    found = [rule.ref.id for rule in rules.rules if hunt.rule in (rule.ref.id, rule.ref.title)]
    if not found:
        raise AuditFlowError(f"there is no rule with the id or title {hunt.rule!r}")
    return rules.select(found)


def _run(job: HuntJob, hunt: Hunt, rules: RuleSet, read: ProcessSettings) -> HuntResult:
    storage = open_storage(read)
    manifest = Manifest(
        partial(postgres.connect, read, name="hunt", statement_seconds=_STATEMENT_SECONDS)
    )
    job.spill.mkdir(exist_ok=True)
    database = SearchDatabase(
        SearchLimits(
            memory_mebibytes=read.archive_hunt_mebibytes // _DATABASE_SHARE, threads=1, running=1
        ),
        folders=[read.archive_folder],
        addresses=[storage.address("")] if read.archive_bucket else [],
        register=storage.register,
        spill=job.spill,
    )
    pending = job.pending()
    try:
        since_ms = to_ms(hunt.since)
        _drop_outdated_checkpoint(job, rules, since_ms)
        return archive_hunt.run(
            rules,
            ManifestArchive(manifest, storage.address, lambda: pending),
            database,
            since_ms=since_ms,
            until_ms=to_ms(hunt.until),
            state=job.checkpoint,
            report=_reporter(job),
            environment=read.environment,
        )
    finally:
        manifest.close()
        database.close()


def _drop_outdated_checkpoint(job: HuntJob, rules: RuleSet, since_ms: int) -> None:
    """Start again if the rules changed, for example because the service was updated."""
    try:
        checkpoint.read(job.checkpoint, archive_hunt.name_of(rules, since_ms))
    except InvalidCheckpoint:
        job.checkpoint.unlink(missing_ok=True)


def _reporter(job: HuntJob) -> Callable[[Progress], None]:
    reported = 0.0

    def report(progress: Progress) -> None:
        nonlocal reported
        if time.monotonic() >= reported + _REPORT_SECONDS:
            job.write_progress(progress)
            reported = time.monotonic()

    return report


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
