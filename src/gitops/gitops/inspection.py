"""Is an image signed by our workflow, and what is known to be wrong with it: cosign and Trivy."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops import scans
from gitops.errors import CommandError, GitOpsError, ProgramMissingError
from gitops.pin import Pin
from gitops.scans import Finding

#: Who speaks for GitHub's workflows.
ISSUER: Final = "https://token.actions.githubusercontent.com"
_WORKFLOW: Final = ".github/workflows/build-single-service.yml"
_SECONDS: Final = 900


class NotSignedError(GitOpsError):
    """An image has no signature of this repository's workflow."""

    def __init__(self, reference: str, identity: str, said: str) -> None:
        lines = "\n".join(f"    {line}" for line in said.strip().splitlines()[-5:])
        super().__init__(
            f"{reference} is not signed by {identity}, so it was not built by this repository's"
            f" workflow on main. It must not be deployed. cosign said:\n{lines}"
        )
        self.reference = reference


@dataclass(frozen=True)
class Inspection:
    """What is known about one image, whose signature was verified if that was asked."""

    service: str
    findings: tuple[Finding, ...]
    signed: bool


def identity(repository: str, branch: str = "main") -> str:
    """The name that Fulcio writes into the certificate of an image that was built on a branch."""
    return f"https://github.com/{repository}/{_WORKFLOW}@refs/heads/{branch}"


def inspect(pin: Pin, *, signer: str | None, reports: Path) -> Inspection:
    """Verify that ``signer`` signed an image, and scan it; the report is kept in ``reports``.

    Raises:
        ProgramMissingError: cosign or trivy is not here.
        NotSignedError: the image carries no signature of ``signer``.
    """
    for program in ("cosign", "trivy"):
        if shutil.which(program) is None:
            raise ProgramMissingError(program, wanted_for="inspect images")
    if signer:
        _verify(pin.reference, signer)
    report = reports / f"{pin.service}-{pin.digest.removeprefix('sha256:')}.json"
    return Inspection(pin.service, _scanned(pin.reference, report), signed=signer is not None)


def _verify(reference: str, signer: str) -> None:
    done = _run(
        "cosign",
        "verify",
        f"--certificate-identity={signer}",
        f"--certificate-oidc-issuer={ISSUER}",
        reference,
    )
    if done.returncode:
        raise NotSignedError(reference, signer, done.stderr)


def _scanned(reference: str, report: Path) -> tuple[Finding, ...]:
    report.parent.mkdir(parents=True, exist_ok=True)
    done = _run("trivy", "image", "--quiet", "--format=json", f"--output={report}", reference)
    if done.returncode:
        raise CommandError(f"trivy image {reference}", done.stderr)
    return scans.read(report)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CommandError(" ".join(command[:2]), f"nothing came in {_SECONDS} s") from None
