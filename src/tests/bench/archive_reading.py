"""Measures searches and hunts in a generated archive.

``python -m src.tests.bench.archive_reading --events 5000000``. Each event is a function of its
number, so every run reads the same archive. There is one file for each hour, and a day has one
million events. The manifest is in a real PostgreSQL. ``--folder`` keeps the files for further runs.
"""

import argparse
import datetime as dt
import math
import os
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import duckdb
import psycopg2

from audit_analysis.archive.archived_file import ArchiveFile
from audit_analysis.archive.id_index import INDEX, IdIndex
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.parquet import FILE_OPTIONS, ParquetWriter
from audit_analysis.archive.table import COLUMNS, hour_of
from audit_analysis.cli.rule_paths import SHIPPED_RULES
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.manifest_archive import ManifestArchive
from audit_analysis.events_api.query import Condition, EventFilter, EventQuery
from audit_analysis.hunt import archive_hunt
from audit_analysis.sigma.load import load
from auditflow.interpreter import tune_garbage_collector
from auditflow_local import ports
from auditflow_local.servers.postgres import Postgres
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER

START_MS: Final = 1_772_323_200_000  # 2026-03-01T00:00:00Z
DAY_MS: Final = 86_400_000
EVENTS_PER_DAY: Final = 1_000_000
#: The rules that are hunted, by title: one for single events, and correlations.
RULES: Final = ("Root shell by sudo", "Burst of failed logins", "Password guessed")
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


def generate(folder: Path, events: int, per_day: int) -> list[Path]:
    """Write the files of an archive."""
    per_hour = per_day // 24 + 1
    paths = []
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GiB"}) as connection:
        for number, first in enumerate(range(0, events, per_hour)):
            path = folder / f"{number:05}.parquet"
            paths.append(path)
            if path.exists():
                continue
            connection.execute(
                f"COPY (SELECT {', '.join(COLUMN_NAMES)} FROM ({_EVENTS}))"
                f" TO '{path}.new' ({FILE_OPTIONS})",
                {
                    "start": START_MS,
                    "day": DAY_MS,
                    "per_day": per_day,
                    "first": first,
                    "last": min(events, first + per_hour),
                },
            )
            Path(f"{path}.new").replace(path)
    return paths


COLUMN_NAMES: Final = [f'"{name}"' for name in COLUMNS]


def file_of(path: Path, folder: Path) -> ArchiveFile:
    """The entry of a generated file in the manifest."""
    with duckdb.connect() as connection:
        statistics_of = connection.execute(
            "SELECT count(*), min(occurred_ms), max(occurred_ms), min(received_ms),"
            " max(received_ms) FROM read_parquet(?)",
            [str(path)],
        ).fetchone()
    assert statistics_of is not None
    rows, first, last, first_received, last_received = statistics_of
    return ArchiveFile(
        str(path.relative_to(folder)), "volume", hour_of(first), "other", rows,
        path.stat().st_size, first, last, first_received, last_received, bytes(32),
        compacted=True,
    )  # fmt: skip


@contextmanager
def archive_of(folder: Path, paths: Sequence[Path]) -> Iterator[ManifestArchive]:
    """An archive of the files, with a manifest in PostgreSQL and an index of identifiers."""
    with ExitStack() as stack:
        passwords = {role: secrets.token_hex(20) for role in (SUPERUSER, OWNER, APP, ARCHIVE)}
        servers = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auditflow-pg-")))
        servers.chmod(0o755)
        server = Postgres(
            servers / "postgres", port=ports.pick(), passwords=passwords, durable=False
        )
        stack.callback(server.stop)
        server.start()
        database = server.fresh_database()
        manifest = Manifest(lambda: psycopg2.connect(database.dsn(ARCHIVE)))
        stack.callback(manifest.close)
        manifest.migrate()
        manifest.commit([file_of(path, folder) for path in paths], [])
        writer = ParquetWriter(folder / ".unfinished", memory_mebibytes=128, threads=1)
        stack.callback(writer.close)
        index = IdIndex(folder / INDEX)
        started, cpu = time.perf_counter(), time.process_time()
        index.update(
            manifest.snapshot(),
            lambda path: str(folder / path),
            writer.sorted_ids,
            now=dt.datetime.now(dt.UTC),
        )
        size = sum(file.stat().st_size for file in (folder / INDEX).iterdir())
        click.echo(
            f"index of identifiers: {size / 2**20:,.0f} MiB, {time.perf_counter() - started:.0f} s,"
            f" {time.process_time() - cpu:.0f} s of CPU"
        )
        yield ManifestArchive(manifest, lambda path: str(folder / path), select=index.select)


def main() -> None:
    """Generate an archive, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument(
        "--per-day", type=int, default=EVENTS_PER_DAY,
        help="events of a day: with fewer, an archive has more files",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="keep the files here for further runs")
    parser.add_argument("--hunts", nargs="*", default=RULES, help="the titles of rules")
    options = parser.parse_args()
    events: int = options.events
    with ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="auditflow-archive-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        paths = generate(folder, events, options.per_day)
        size = sum(path.stat().st_size for path in paths)
        click.echo(f"{events:,} events in {len(paths)} files, {size / events:.0f} bytes per event, "
              f"written in {time.perf_counter() - started:.0f} s")  # fmt: skip
        archive = stack.enter_context(archive_of(folder, paths))
        _searches(folder, archive, options, paths)
        _hunts(folder, archive, events, options.hunts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    click.echo(f"maximum memory of the process: {peak} MiB")


def _searches(
    folder: Path, archive: ManifestArchive, options: argparse.Namespace, paths: Sequence[Path]
) -> None:
    events: int = options.events
    search = ArchiveSearch(archive, SearchDatabase(SearchLimits(), folders=[folder]))
    days = max(1, events // options.per_day)
    random = Random(20)

    def one_day() -> EventFilter:
        day = START_MS + random.randrange(days) * DAY_MS
        return EventFilter(since_ms=day, until_ms=day + DAY_MS)

    def filtered(**changes: Any) -> EventQuery:
        criteria = one_day()
        return EventQuery(
            filter=EventFilter(since_ms=criteria.since_ms, until_ms=criteria.until_ms, **changes)
        )

    def lookup() -> None:
        name = f"event-{random.randrange(events):012}"
        found = search.event(name)
        assert found is not None
        assert found.event_id == name

    def forget() -> None:
        """Remove the files from the page cache."""
        for file in (*paths, *(folder / INDEX).iterdir()):
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    user = Condition("user", "user-77")
    _measure("lookup by event id", 200, lookup)
    _measure("lookup by event id, files not in the page cache", 20, lookup, before=forget)
    _measure("lookup of an id that does not exist", 20, lambda: search.event("event-none"))
    _measure("newest page without conditions", 5, lambda: search.page(filtered()))
    _measure("a user on one day, first page", 10,
             lambda: search.page(filtered(conditions=(user,))))  # fmt: skip
    _measure("a user on one day, files not in the page cache", 10,
             lambda: search.page(filtered(conditions=(user,))), before=forget)  # fmt: skip
    _measure("free text on one day, no match", 5, lambda: search.page(filtered(text="zzqqzz")))
    _measure("histogram of one day", 3,
             lambda: search.histogram(one_day(), interval_ms=3_600_000))  # fmt: skip
    _measure(
        "ten most frequent users of one day", 3, lambda: search.facet(one_day(), "user", limit=10)
    )


def _hunts(folder: Path, archive: ManifestArchive, events: int, titles: Sequence[str]) -> None:
    rules = load([SHIPPED_RULES], lateness=900_000)
    limits = SearchLimits(memory_mebibytes=1024, running=1)
    tune_garbage_collector()  # as the process of a hunt does
    for title in titles:
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


def _measure(
    name: str,
    times: int,
    function: Callable[[], object],
    before: Callable[[], None] = lambda: None,
) -> None:
    durations, cpu = [], 0.0
    for _ in range(times):
        before()
        started, used = time.perf_counter(), time.process_time()
        function()
        durations.append((time.perf_counter() - started) * 1000)
        cpu += (time.process_time() - used) * 1000 / times
    durations.sort()
    click.echo(
        f"{name}: median {statistics.median(durations):.0f} ms,"
        f" p99 {durations[math.ceil(0.99 * times) - 1]:.0f} ms, {cpu:.0f} ms of CPU ({times} times)"
    )


if __name__ == "__main__":
    main()
