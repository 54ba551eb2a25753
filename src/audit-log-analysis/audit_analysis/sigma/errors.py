"""Faults of rules, with their locations."""

from pathlib import Path

from msgspec import Struct

from auditflow.errors import AuditFlowError


class Unsupported(AuditFlowError):
    """The rule is valid Sigma but uses a feature that this engine does not support."""


class RuleFault(Struct, frozen=True, order=True):
    """A fault of a rule file, with its path and line."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class RuleErrors(AuditFlowError):
    """The rules cannot be used. ``faults`` are all faults that were found."""

    def __init__(self, faults: list[RuleFault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
