"""Sigma's five levels of a rule, and the event severity that is derived from a level."""

from enum import StrEnum
from typing import Final

from auditflow.contract.event import Severity


class Level(StrEnum):
    """How important an alert of a rule is. The levels are those of Sigma, in ascending order."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for informational up to 4 for critical."""
        return _RANK[self]

    @property
    def weight(self) -> int:
        """Points that an alert of this level adds to the risk of its entity."""
        return _WEIGHT[self]

    @property
    def severity(self) -> Severity:
        """The derived severity, for clients that use three severities."""
        return _SEVERITY[self]


_RANK: Final = {level: rank for rank, level in enumerate(Level)}
_WEIGHT: Final = dict(zip(Level, (1, 3, 10, 30, 100), strict=True))
_SEVERITY: Final = dict(
    zip(
        Level,
        (Severity.INFO, Severity.INFO, Severity.WARNING, Severity.WARNING, Severity.CRITICAL),
        strict=True,
    )
)
#: The level of a finding whose rule has a level that Sigma does not define, by its severity.
_OF_SEVERITY: Final = {
    Severity.INFO: Level.INFORMATIONAL,
    Severity.WARNING: Level.MEDIUM,
    Severity.CRITICAL: Level.CRITICAL,
}


def level_of(text: str, severity: Severity) -> Level:
    """The level that a rule states, or the one that its severity implies if the text is no level.

    Findings of older versions and of other producers may carry any text as their level.
    """
    try:
        return Level(text)
    except ValueError:
        return _OF_SEVERITY[severity]
