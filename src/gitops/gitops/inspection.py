"""Verify the signature of an image with cosign and scan it with Trivy."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops import scans
from gitops.errors import CommandError, GitOpsError, ProgramMissingError
from gitops.pin import Pin
from gitops.scans import Finding

#: The OIDC issuer of GitHub's workflows.
ISSUER: Final = "https://token.actions.githubusercontent.com"
_WORKFLOW: Final = ".github/workflows/build-single-service.yml"
_TIMEOUT_SECONDS: Final = 900


class NotSignedError(GitOpsError):
    """An image has no signature of this repository's workflow."""

    def __init__(self, reference: str, identity: str, output: str) -> None:
        lines = "\n".join(f"    {line}" for line in output.strip().splitlines()[-5:])
        super().__init__(
            f"{reference} is not signed by {identity}, so it was not built by this repository's"
            f" workflow on main. It must not be deployed. Output of cosign:\n{lines}"
        )
        self.reference = reference


@dataclass(frozen=True)
class Inspection:
    """The scan result of one image. ``signed`` is True if its signature was verified."""

    service: str
    findings: tuple[Finding, ...]
    signed: bool


def identity(repository: str, branch: str = "main") -> str:
    """The certificate identity of images that the workflow builds on a branch.

    ``repository`` is OWNER/NAME.
    """
    return f"https://github.com/{repository}/{_WORKFLOW}@refs/heads/{branch}"


def inspect(pin: Pin, *, signer: str | None, reports: Path) -> Inspection:
    """Verify that ``signer`` signed an image, and scan it.

    Trivy's JSON report is written to the folder ``reports``. With ``signer=None`` the signature is
    not verified.

    Raises:
        ProgramMissingError: cosign or trivy is not on PATH.
        NotSignedError: the image has no signature of ``signer``.
    """
    for program in ("cosign", "trivy"):
        if shutil.which(program) is None:
            raise ProgramMissingError(program, purpose="inspect images")
    if signer:
        _verify(pin.reference, signer)
    report = reports / f"{pin.service}-{pin.digest.removeprefix('sha256:')}.json"
    return Inspection(pin.service, _scan(pin.reference, report), signed=signer is not None)


def _verify(reference: str, signer: str) -> None:
    process = _run(
        "cosign",
        "verify",
        f"--certificate-identity={signer}",
        f"--certificate-oidc-issuer={ISSUER}",
        reference,
    )
    if process.returncode:
        raise NotSignedError(reference, signer, process.stderr)


def _scan(reference: str, report: Path) -> tuple[Finding, ...]:
    report.parent.mkdir(parents=True, exist_ok=True)
    process = _run("trivy", "image", "--quiet", "--format=json", f"--output={report}", reference)
    if process.returncode:
        raise CommandError(f"trivy image {reference}", process.stderr)
    return scans.read(report)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CommandError(
            " ".join(command[:2]), f"no result within {_TIMEOUT_SECONDS} s"
        ) from None
