"""Limit a process to a part of a core by a control group (version 1 or 2)."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
#: Over how long a part is measured out (microseconds). Short, for a process that stands still for
#: most of a tenth of a second is another thing than a slow one.
_PERIOD: Final = 10_000


class CannotLimitError(Exception):
    """This machine, or this user of it, has no control groups to give."""


@contextmanager
def part_of_a_core(part: float) -> Iterator[Path]:
    """A group whose members together compute at most so much of the time; see ``join``.

    Raises:
        CannotLimitError: why not.
    """
    unified = (_GROUPS / "cgroup.controllers").exists()
    name = f"auditflow-bench-{secrets.token_hex(4)}"
    group = (_GROUPS if unified else _GROUPS / "cpu") / name
    quota = round(part * _PERIOD)
    try:
        group.mkdir()
    except OSError as error:
        raise CannotLimitError(str(error)) from None
    try:
        if unified:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        group.rmdir()
        raise CannotLimitError(str(error)) from None
    try:
        yield group
    finally:
        _leave(group)
        group.rmdir()


def _leave(group: Path) -> None:
    """Its members go back to where they came from, and run on."""
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            (group.parent / "cgroup.procs").write_text(pid)


def possible() -> bool:
    """Whether this machine, and this user of it, can give a part of a core."""
    try:
        with part_of_a_core(1):
            return True
    except CannotLimitError:
        return False


def join(group: Path, pid: int) -> None:
    """Put a process, with all its threads, into a group."""
    (group / "cgroup.procs").write_text(str(pid))
