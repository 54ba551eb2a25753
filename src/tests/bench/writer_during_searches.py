"""The rate at which the archive writes files, alone and while searches run on the same core.

``python -m src.tests.bench.writer_during_searches``. A thread with the CPU priority of the writer
writes files, and two searches for a text that does not occur run all the time. All use one core.
Other programs on this core change the rates, so the shares of CPU time matter more.
"""

import asyncio
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

import click
from msgspec import Struct
from src.tests.archived_events import START_MS, FolderArchive, archived, write

from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.writer import NICENESS
from audit_analysis.events_api import running
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.query import EventFilter, EventQuery
from auditflow.worker import Worker

#: Events of a written file, and of the searched file.
WRITTEN: Final = 5_000
SEARCHED: Final = 200_000


class Rates(Struct, frozen=True):
    """Events written per second, and the part of the CPU time of the process for writing them."""

    events_per_second: float
    share: float


def measure(folder: Path, seconds: float, search: ArchiveSearch | None) -> Rates:
    """Write files for some seconds, with or without searches."""
    writer = ParquetWriter(folder / "unfinished", memory_mebibytes=128, threads=1)
    rows = [archived(number) for number in range(WRITTEN)]
    end, written, used = time.monotonic() + seconds, 0, 0.0
    ended = threading.Event()

    def write_files() -> None:
        nonlocal written, used
        try:
            while time.monotonic() < end:
                writer.write(rows).local.unlink()
                written += len(rows)
            used = time.thread_time()
        finally:
            ended.set()

    async def search_until_end(found: ArchiveSearch) -> None:
        every = EventFilter(since_ms=START_MS, until_ms=2**52, text="zzqqzz")
        while not ended.is_set():
            await running.run(partial(found.page, EventQuery(filter=every)))

    async def search_twice(found: ArchiveSearch) -> None:
        await asyncio.gather(search_until_end(found), search_until_end(found))

    cpu, started = time.process_time(), time.monotonic()
    worker = Worker("writer", write_files, niceness=NICENESS)
    worker.start()
    if search is not None:
        asyncio.run(search_twice(search))
    ended.wait()
    cpu, duration = time.process_time() - cpu, time.monotonic() - started
    worker.stop(timeout=10)
    writer.close()
    return Rates(written / duration, used / cpu)


@click.command()
@click.option("--seconds", default=10.0, show_default=True)
def main(seconds: float) -> None:
    """Print the rates without and with searches."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="auditflow-archive-") as name:
        folder = Path(name)
        file = write(folder / "searched.parquet", [archived(n) for n in range(SEARCHED)])
        database = SearchDatabase(SearchLimits(), folders=[folder])
        search = ArchiveSearch(FolderArchive([file]), database)
        for title, searches in (("alone", None), ("during searches", search)):
            found = measure(folder, seconds, searches)
            click.echo(
                f"writer {title}: {found.events_per_second:,.0f} events/s,"
                f" {found.share:.0%} of the CPU time"
            )
        database.close()


if __name__ == "__main__":
    main()
