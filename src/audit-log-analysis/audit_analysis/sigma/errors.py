"""What can be wrong with rules, with its place."""

from pathlib import Path

from msgspec import Struct

from auditflow.errors import AuditFlowError


class Unsupported(AuditFlowError):
    """The rule says something that is valid Sigma and that this engine does not do."""


class RuleFault(Struct, frozen=True, order=True):
    """One thing wrong with a rule file."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class RuleErrors(AuditFlowError):
    """The rules cannot be used. Carries every fault that was found, not just the first."""

    def __init__(self, faults: list[RuleFault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
