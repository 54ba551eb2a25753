"""Measures searches and hunts in a generated archive.

``python -m src.tests.bench.archive_reading --events 5000000``. Each event is a function of its
number, so every run reads the same archive. There is one file for each hour, and a day has one
million events.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import duckdb

from audit_analysis.archive.table import COLUMNS
from audit_analysis.cli.rule_paths import SHIPPED_RULES
from audit_analysis.events_api.archive_search import ArchiveSearch, SearchedFile, Snapshot
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.query import Condition, EventFilter, EventQuery
from audit_analysis.hunt import archive_hunt
from audit_analysis.hunt.file_archive import FileArchive
from audit_analysis.sigma.load import load

START_MS: Final = 1_772_323_200_000  # 2026-03-01T00:00:00Z
DAY_MS: Final = 86_400_000
EVENTS_PER_DAY: Final = 1_000_000
#: The rules that are hunted, by title: one for single events, and correlations.
RULES: Final = ("Root shell by sudo", "Burst of failed logins", "Password guessed")
_OPTIONS: Final = (
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 50000,"
    " DICTIONARY_SIZE_LIMIT 50000, STRING_DICTIONARY_PAGE_SIZE_LIMIT 4194304"
)
#: Two fifths are logins, of which a tenth fail; 1 % are commands by sudo.
_EVENTS: Final = """
    WITH numbers AS (
        SELECT i, hash(i) AS h, hash(i, 1) AS h1, hash(i, 2) AS h2, hash(i, 3) AS h3,
            $start + (i * $day) // $per_day AS occurred_ms
        FROM range($first, $last) numbers(i)
    ), fields AS (
        SELECT *, 'event-' || lpad(i::VARCHAR, 12, '0') AS event_id,
            CASE WHEN h % 100 < 40 THEN 'user_login' WHEN h % 100 = 40 THEN 'sudo_command'
                WHEN h % 100 < 70 THEN 'file_access' ELSE 'network_connection' END AS event_type,
            CASE WHEN h % 100 < 4 THEN 'FAILURE' ELSE 'SUCCESS' END AS action_result,
            'user-' || (floor(5000 * pow((h1 % 100000) / 100000, 3)))::INT AS "user",
            'host-' || (h2 % 500) AS host,
            '10.' || (h3 % 8) || '.' || (h3 // 8 % 256) || '.' || (h3 // 2048 % 250) AS address,
            CASE WHEN h % 100 = 40 AND h1 % 50 = 0 THEN '/bin/bash'
                ELSE '/usr/bin/systemctl status service-' || (h3 % 100) END AS command
        FROM numbers
    )
    SELECT event_id, occurred_ms + 500 AS received_ms, occurred_ms, 'other' AS source, event_type,
        'INFO' AS severity, action_result, NULL::VARCHAR AS source_service, host, "user", address,
        NULL::VARCHAR AS resource, NULL::VARCHAR AS product, NULL::VARCHAR AS service,
        NULL::VARCHAR AS category, NULL::VARCHAR AS correlation_id, false AS late,
        false AS clamped, false AS staged, false AS refused, NULL::VARCHAR AS reason,
        encode('{"event_id":"' || event_id || '","timestamp":"'
            || strftime(make_timestamp(occurred_ms * 1000), '%Y-%m-%dT%H:%M:%S.%g') || 'Z"'
            || ',"event_type":"' || event_type || '","user_id":"' || "user"
            || '","server_hostname":"' || host || '","action_result":"' || action_result
            || '","client_ip":"' || address || '","details":{"command":"' || command
            || '","session":"' || md5(i::VARCHAR) || '","agent":"sshd-' || (h2 % 7)
            || '","note":"generated event of the benchmark"}}') AS record
    FROM fields ORDER BY occurred_ms
"""


def generate(folder: Path, events: int) -> list[Path]:
    """Write the files of an archive."""
    per_hour = EVENTS_PER_DAY // 24 + 1
    paths = []
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GiB"}) as connection:
        for number, first in enumerate(range(0, events, per_hour)):
            path = folder / f"{number:05}.parquet"
            connection.execute(
                f"COPY (SELECT {', '.join(COLUMN_NAMES)} FROM ({_EVENTS}))"
                f" TO '{path}' ({_OPTIONS})",
                {
                    "start": START_MS,
                    "day": DAY_MS,
                    "per_day": EVENTS_PER_DAY,
                    "first": first,
                    "last": min(events, first + per_hour),
                },
            )
            paths.append(path)
    return paths


COLUMN_NAMES: Final = [f'"{name}"' for name in COLUMNS]


class _Files:
    """An ``Archive`` of all files."""

    def __init__(self, archive: FileArchive) -> None:
        self._files = archive.files(since_ms=0, sources=None)

    def snapshot(
        self, *, since_ms: int | None, until_ms: int | None, sources: Sequence[str] | None
    ) -> Snapshot:
        del sources
        return Snapshot(
            [
                SearchedFile(file.address, file.min_occurred_ms, file.max_occurred_ms)
                for file in self._files
                if (since_ms is None or file.max_occurred_ms >= since_ms)
                and (until_ms is None or file.min_occurred_ms < until_ms)
            ]
        )


def main() -> None:
    """Generate an archive in a temporary folder, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    events: int = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="auditflow-archive-") as name:
        folder = Path(name)
        started = time.perf_counter()
        paths = generate(folder, events)
        size = sum(path.stat().st_size for path in paths)
        click.echo(f"{events:,} events in {len(paths)} files, {size / events:.0f} bytes per event, "
              f"written in {time.perf_counter() - started:.0f} s")  # fmt: skip
        archive = FileArchive([folder])
        _searches(folder, archive, events)
        _hunts(folder, archive, events)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    click.echo(f"maximum memory of the process: {peak} MiB")


def _searches(folder: Path, archive: FileArchive, events: int) -> None:
    search = ArchiveSearch(_Files(archive), SearchDatabase(SearchLimits(), folders=[folder]))
    day = (events // EVENTS_PER_DAY) // 2 * DAY_MS + START_MS
    one_day = EventFilter(since_ms=day, until_ms=day + DAY_MS)
    user = Condition("user", "user-77")

    def filtered(**changes: Any) -> EventQuery:
        return EventQuery(
            filter=EventFilter(since_ms=one_day.since_ms, until_ms=one_day.until_ms, **changes)
        )

    identifiers = iter(f"event-{events * part // 13:012}" for part in range(1, 13))
    _measure("lookup by event id", 12, lambda: search.event(next(identifiers)))
    _measure("newest page without conditions", 5, lambda: search.page(filtered()))
    _measure("a user on one day, first page", 5, lambda: search.page(filtered(conditions=(user,))))
    rare = f"{'0' * 3}event-{0:06}"
    _measure("free text on one day, no match", 3, lambda: search.page(filtered(text=rare)))
    _measure("histogram of one day", 3, lambda: search.histogram(one_day, interval_ms=3_600_000))
    _measure(
        "ten most frequent users of one day", 3, lambda: search.facet(one_day, "user", limit=10)
    )


def _hunts(folder: Path, archive: FileArchive, events: int) -> None:
    rules = load([SHIPPED_RULES], lateness=900_000)
    limits = SearchLimits(memory_mebibytes=1024, running=1)
    for title in RULES:
        selected = rules.select([rule.ref.id for rule in rules.rules if rule.ref.title == title])
        started, cpu = time.perf_counter(), time.process_time()
        result = archive_hunt.run(
            selected,
            archive,
            SearchDatabase(limits, folders=[folder]),
            since_ms=START_MS,
            until_ms=START_MS + 400 * DAY_MS,
        )
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        click.echo(f"hunt for {title!r}: {seconds:.1f} s, {cpu:.1f} s of CPU, "
              f"{events / seconds:,.0f} events/s, {result.candidates / events:.1%} candidates, "
              f"{len(result.findings):,} findings")  # fmt: skip


def _measure(name: str, times: int, function: Callable[[], object]) -> None:
    durations, cpu = [], time.process_time()
    for _ in range(times):
        started = time.perf_counter()
        function()
        durations.append((time.perf_counter() - started) * 1000)
    cpu = (time.process_time() - cpu) * 1000 / times
    click.echo(
        f"{name}: median {statistics.median(durations):.0f} ms, maximum {max(durations):.0f} ms,"
        f" {cpu:.0f} ms of CPU"
    )


if __name__ == "__main__":
    main()
