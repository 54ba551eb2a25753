"""Every ``run:`` step of the workflows fails when a program in it fails.

The tests run each script with the command line that GitHub uses. PATH is not valid, so that bash calls
``command_not_found_handle`` for every program. The handler records the program and fails for one of
them. A script without pipefail would ignore a failure before a pipe.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .forge import ROOT

FOLDER = ROOT / ".github/workflows"
#: GitHub's command lines: without `shell:`, and with `shell: bash`.
SHELLS = {
    None: ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
}
HANDLER = """
cat_input() { while read -r _; do :; done; }
command_not_found_handle() {
  echo "$1" >> "$CALLS"
  # Programs in a pipe read their input, so that the program before them can write it.
  [ ! -p /dev/stdin ] || cat_input
  [ "$1" != "$FAIL" ] || return 1
  echo output
}
"""


def shell(workflow: dict[Any, Any], job: dict[str, Any], step: dict[str, Any]) -> str | None:
    """The effective shell of a step."""
    if "shell" in step:
        return str(step["shell"])
    for level in (job, workflow):
        if found := level.get("defaults", {}).get("run", {}).get("shell"):
            return str(found)
    return None


def scripts() -> Iterator[tuple[str, str | None, str]]:
    """The name, the shell and the script of each step."""
    for file in sorted(FOLDER.glob("*.yml")):
        workflow = yaml.safe_load(file.read_text())
        for key, job in workflow["jobs"].items():
            for number, step in enumerate(job.get("steps", ())):
                if "run" in step:
                    name = f"{file.name}:{key}:{step.get('name', number)}"
                    yield name, shell(workflow, job, step), step["run"]


SCRIPTS = list(scripts())


def run(
    folder: Path, shell_name: str | None, script: str, *, fail: str = ""
) -> tuple[int, list[str]]:
    """Run a script in a folder. Returns its exit code and the programs that it called."""
    (folder / "handler.sh").write_text(HANDLER)
    (folder / "script.sh").write_text(script)
    for name in (
        "reports/notification-service-1.json",
        "infra/terraform/modules/a/main.tf",
        "sarif/a",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    program = folder / "output/bin/k3d"  # called by its path: $(go env GOPATH)/bin/k3d
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/bash\nk3d\n")
    program.chmod(0o755)
    calls = folder / "calls"
    calls.write_text("")
    environment = {
        "PATH": "/nonexistent",
        "SYFT": "syft",
        "BASH_ENV": str(folder / "handler.sh"),
        "CALLS": str(calls),
        "FAIL": fail,
        "HOME": str(folder),
        "RESULTS": "success skipped",
        **{name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")},
    }
    process = subprocess.run(
        ("/bin/bash", *SHELLS[shell_name][1:], "script.sh"),
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return process.returncode, calls.read_text().split()


def test_scripts_are_found() -> None:
    assert len(SCRIPTS) >= 15


@pytest.mark.parametrize(("name", "shell_name", "script"), SCRIPTS, ids=[s[0] for s in SCRIPTS])
def test_a_failure_of_any_program_fails_the_step(
    name: str, shell_name: str | None, script: str, tmp_path: Path
) -> None:
    # given a script that succeeds if all programs succeed
    code, programs = run(tmp_path, shell_name, script)
    assert code == 0, name

    # when any of its programs fails
    for program in sorted(set(programs)):
        code, _ = run(tmp_path, shell_name, script, fail=program)

        # then the step fails
        assert code != 0, f"{name} ignores a failure of {program}"


def test_the_default_shell_would_ignore_a_failure_before_a_pipe(tmp_path: Path) -> None:
    """This is the reason for ``defaults.run.shell`` in each workflow."""
    script = "gate report.json | tee summary"
    assert run(tmp_path, None, script, fail="gate")[0] == 0
    assert run(tmp_path, "bash", script, fail="gate")[0] == 1


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yml")), ids=lambda file: file.name)
def test_each_workflow_sets_the_shell(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["defaults"]["run"]["shell"] == "bash"
