"""Errors of the lab."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """The root error of the lab."""


class CommandFailed(LabError):
    """A program failed."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(argv)} exited with {code}:\n{output}")
        self.argv = tuple(argv)
        self.code = code
        self.output = output


class MissingPrerequisite(LabError):
    """This machine lacks a prerequisite of the lab."""


class NotInTime(LabError):
    """An expected state was not reached before the deadline."""

    def __init__(self, what: str, seconds: float, last: object = None) -> None:
        seen = "" if last is None else f"; last seen: {last}"
        super().__init__(f"not within {seconds:.0f} s: {what}{seen}")
        self.what = what
        self.last = last
