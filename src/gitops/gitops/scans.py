"""What a scan of Trivy found, and what of it stops a release. Pure, but for reading the report."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitops.errors import GitOpsError

_SEVERITIES: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")


class ScanError(GitOpsError):
    """A report is missing or is none. A scan that was not made never counts as a clean one."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}, so nothing is known about what it was to scan")
        self.where = where


@dataclass(frozen=True, order=True)
class Finding:
    """A known vulnerability of a package in an image."""

    identifier: str
    package: str
    installed: str
    severity: str
    #: The version that mends it; empty when there is none yet.
    fixed: str = ""

    @property
    def stops(self) -> bool:
        """Critical, and an update would mend it: there is no reason to ship it."""
        return self.severity == "CRITICAL" and bool(self.fixed)


@dataclass(frozen=True)
class Difference:
    """What a newer image brings and what it is rid of."""

    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]


def read(file: Path) -> tuple[Finding, ...]:
    """The findings of a report that ``trivy --format json`` wrote.

    Raises:
        ScanError: there is no report, or it is something else.
    """
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScanError(str(file), f"is no report of Trivy ({error})") from None


def parse(report: Any) -> tuple[Finding, ...]:
    """The findings of a report; each once, the worst first."""
    if "SchemaVersion" not in report:
        raise KeyError("SchemaVersion")
    found = {
        Finding(
            identifier=one["VulnerabilityID"],
            package=one["PkgName"],
            installed=one.get("InstalledVersion", ""),
            severity=one.get("Severity", "UNKNOWN"),
            fixed=one.get("FixedVersion", ""),
        )
        for result in report.get("Results") or ()
        for one in result.get("Vulnerabilities") or ()
    }
    return tuple(sorted(found, key=lambda one: (_rank(one), one)))


def difference(before: Iterable[Finding], after: Iterable[Finding]) -> Difference:
    """By vulnerability and package: another version with the same one is nothing new."""
    old = {(one.identifier, one.package): one for one in before}
    new = {(one.identifier, one.package): one for one in after}
    return Difference(
        new=tuple(new[key] for key in new if key not in old),
        gone=tuple(old[key] for key in old if key not in new),
    )


def counts(findings: Iterable[Finding]) -> str:
    """How many of each severity, for people: ``2 critical, 5 high``."""
    by_severity = dict.fromkeys(_SEVERITIES, 0)
    for one in findings:
        by_severity[_SEVERITIES[_rank(one)]] += 1
    said = [f"{count} {name.lower()}" for name, count in by_severity.items() if count]
    return ", ".join(said) or "none"


def _rank(finding: Finding) -> int:
    known = finding.severity in _SEVERITIES
    return _SEVERITIES.index(finding.severity if known else "UNKNOWN")
