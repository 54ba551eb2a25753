"""Faults of rules, with their locations."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from auditflow.errors import AuditFlowError
from auditflow.printable import printable


class Unsupported(AuditFlowError):
    """The rule is valid Sigma but uses a feature that this engine does not support."""


#: Maximum length of the text of a fault, in characters. It may quote a file.
_MAX_MESSAGE: Final = 1_000


class RuleFault(Struct, frozen=True, order=True):
    """A fault of a rule file, with its path and line."""

    path: Path
    line: int
    message: str

    @classmethod
    def of(cls, path: Path, line: int, message: object) -> "RuleFault":
        """A fault whose text may quote the file: it is shortened, and control characters are
        escaped, because people read it in terminals and logs.
        """
        text = str(message)
        if len(text) > _MAX_MESSAGE:
            text = text[:_MAX_MESSAGE] + "..."
        return cls(path, line, printable(text))

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class RuleErrors(AuditFlowError):
    """The rules cannot be used. ``faults`` are all faults that were found."""

    def __init__(self, faults: list[RuleFault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
