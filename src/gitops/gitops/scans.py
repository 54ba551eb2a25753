"""Findings of a Trivy report, and which of them block a release. Pure, except for ``read``."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitops.errors import GitOpsError

_SEVERITIES: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")


class ScanError(GitOpsError):
    """A report is missing or not valid. A missing scan never counts as a scan without findings."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}, so the image counts as not scanned")
        self.file = file


@dataclass(frozen=True, order=True)
class Finding:
    """A known vulnerability of a package in an image."""

    identifier: str
    package: str
    installed: str
    severity: str
    #: The package version that fixes the vulnerability; empty if there is none yet.
    fixed: str = ""

    @property
    def blocks_release(self) -> bool:
        """Whether the vulnerability is critical and an update fixes it."""
        return self.severity == "CRITICAL" and bool(self.fixed)


@dataclass(frozen=True)
class Difference:
    """The findings that a newer image adds and fixes."""

    new: tuple[Finding, ...]
    fixed: tuple[Finding, ...]


def read(file: Path) -> tuple[Finding, ...]:
    """The findings of a report that ``trivy --format json`` wrote.

    Raises:
        ScanError: the report is missing or not valid.
    """
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScanError(str(file), f"is not a Trivy report ({error})") from None


def parse(report: Any) -> tuple[Finding, ...]:
    """The findings of a report without duplicates, the most severe first."""
    if "SchemaVersion" not in report:
        raise KeyError("SchemaVersion")
    findings = {
        Finding(
            identifier=vulnerability["VulnerabilityID"],
            package=vulnerability["PkgName"],
            installed=vulnerability.get("InstalledVersion", ""),
            severity=vulnerability.get("Severity", "UNKNOWN"),
            fixed=vulnerability.get("FixedVersion", ""),
        )
        for result in report.get("Results") or ()
        for vulnerability in result.get("Vulnerabilities") or ()
    }
    return tuple(sorted(findings, key=lambda finding: (_rank(finding), finding)))


def difference(before: Iterable[Finding], after: Iterable[Finding]) -> Difference:
    """Compare by vulnerability and package. Another version with the same finding is not new."""
    old = {(finding.identifier, finding.package): finding for finding in before}
    new = {(finding.identifier, finding.package): finding for finding in after}
    return Difference(
        new=tuple(new[key] for key in new if key not in old),
        fixed=tuple(old[key] for key in old if key not in new),
    )


def counts(findings: Iterable[Finding]) -> str:
    """The number of findings by severity, for people: ``2 critical, 5 high``."""
    by_severity = dict.fromkeys(_SEVERITIES, 0)
    for finding in findings:
        by_severity[_SEVERITIES[_rank(finding)]] += 1
    parts = [f"{count} {name.lower()}" for name, count in by_severity.items() if count]
    return ", ".join(parts) or "none"


def _rank(finding: Finding) -> int:
    known = finding.severity in _SEVERITIES
    return _SEVERITIES.index(finding.severity if known else "UNKNOWN")
