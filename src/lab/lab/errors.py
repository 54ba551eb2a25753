"""What can go wrong in the lab, each with the data that explains it."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """The root of the lab's errors."""


class CommandFailed(LabError):
    """A program that had to succeed did not."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(argv)} exited with {code}:\n{output}")
        self.argv = tuple(argv)
        self.code = code
        self.output = output


class MissingPrerequisite(LabError):
    """This machine lacks something that the lab does not make itself."""


class NotInTime(LabError):
    """What was waited for did not come before the deadline."""

    def __init__(self, what: str, seconds: float, last: object = None) -> None:
        seen = "" if last is None else f"; last seen: {last}"
        super().__init__(f"not within {seconds:.0f} s: {what}{seen}")
        self.what = what
        self.last = last
