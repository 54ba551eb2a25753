"""The iCal files beside the routing file, read again when they change."""

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

from auditflow.telemetry import logs
from notification_service.oncall.schedule import MAX_BYTES, Calendar, CalendarError, Shift, on_call
from notification_service.routing.tree import Schedule, Tree

log = logs.get(__name__)


class Calendars:
    """Calendars by file name. A file that cannot be read keeps the calendar before it."""

    def __init__(self, folder: Callable[[], Path | None]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int, int], Calendar]] = {}
        self._errors: dict[str, str] = {}

    def get(self, name: str) -> Calendar | None:
        """The calendar in a file; None if there never was one that can be used."""
        folder = self._folder()
        if folder is None:
            return None
        with self._lock:
            try:
                self._read(folder / name, name)
            except (OSError, CalendarError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                if self._errors.get(name) != why:
                    log.warning(
                        "calendar refused; the previous version is used", file=name, error=why
                    )
                self._errors[name] = why or "cannot be read"
            else:
                self._errors.pop(name, None)
            known = self._known.get(name)
        return known[1] if known else None

    def errors(self) -> dict[str, str]:
        """The files that could not be read when they were last needed, and why."""
        return dict(self._errors)

    def shift(self, schedule: Schedule, at: dt.datetime) -> Shift | None:
        """Who is on call by a schedule at a time; None when nobody is."""
        calendar = self.get(schedule.file)
        return on_call(calendar, schedule.people, at) if calendar else None

    def receiver(self, tree: Tree, name: str, at: dt.datetime) -> str | None:
        """The receiver of the person who is on call; None when there is none."""
        schedule = tree.schedules.get(name)
        shift = self.shift(schedule, at) if schedule else None
        return shift.receiver if shift else None

    def _read(self, file: Path, name: str) -> None:
        status = file.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known.get(name)
        if known and known[0] == stamp and name not in self._errors:
            return
        with file.open("rb") as opened:
            self._known[name] = stamp, Calendar(opened.read(MAX_BYTES + 1))
