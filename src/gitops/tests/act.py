"""Runs workflows with act, GitHub's workflow engine for one machine, without GitHub and containers.

Steps run on this machine. Actions of other repositories are replaced by small actions, because their
code is on GitHub. The one of actions/checkout clones the fake forge. Programs on PATH are those of
the test.

Unlike GitHub, act stops after a failed reusable workflow, ignores ``environment``, ``concurrency`` and
``permissions``, and ends no job by its time limit.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from auditflow_local import programs

from .forge import ROOT, Clone, Forge, Programs, digest, git

WORKFLOWS = ROOT / ".github/workflows"
#: The owner and the repository that the workflows see.
SLUG = "octo-cat/audit"
_BASH = "/bin/bash"

#: Scripts of the actions whose effect matters. Inputs are variables INPUT_NAME. All others do nothing.
_SCRIPTS = {
    "actions/attest": 'echo actions/attest >> "$CALLS"',
    "actions/checkout": """
        git init --quiet --initial-branch=main .
        git remote add origin "file://$FORGE"
        git fetch --quiet origin '+refs/heads/*:refs/remotes/origin/*'
        ref=${INPUT_REF:-$GITHUB_SHA}
        git checkout --quiet -B main "origin/$ref" 2>/dev/null || git checkout --quiet -B main "$ref"
    """,
    "actions/create-github-app-token": 'echo "token=token-of-the-bot" >> "$GITHUB_OUTPUT"',
    "actions/upload-artifact": """
        mkdir -p "$ARTIFACTS/$INPUT_NAME"
        for path in $INPUT_PATH; do
          if [ -d "$path" ]; then cp -r "$path/." "$ARTIFACTS/$INPUT_NAME"; fi
        done
    """,
    "actions/download-artifact": """
        mkdir -p "$INPUT_PATH"
        for folder in "$ARTIFACTS"/${INPUT_PATTERN:-$INPUT_NAME}; do
          if [ -d "$folder" ]; then cp -r "$folder/." "$INPUT_PATH"; fi
        done
    """,
    "anchore/sbom-action": 'echo "cmd=syft" >> "$GITHUB_OUTPUT"',
    "aquasecurity/trivy-action": """
        if [ -n "$INPUT_OUTPUT" ]; then cp "$SCAN_REPORT" "$INPUT_OUTPUT"; fi
    """,
    "docker/build-push-action": f'echo "digest={digest(7)}" >> "$GITHUB_OUTPUT"',
    "github/codeql-action": 'echo github/codeql-action >> "$CALLS"',
}
_INPUTS = ("name", "output", "path", "pattern", "ref")
_OUTPUTS = ("cmd", "digest", "token")


#: A Trivy that finds nothing: `convert` writes SARIF, and a scan writes a report.
_TRIVY = """
import json, sys
words = sys.argv[1:]
if words[0] == "convert":
    output, content = words[words.index("--output") + 1], {"runs": [{"automationDetails": {}}]}
else:
    output = next(word.partition("=")[2] for word in words if word.startswith("--output="))
    content = {"SchemaVersion": 2, "Results": []}
open(output, "w").write(json.dumps(content))
"""


@dataclass(frozen=True)
class Run:
    """A finished workflow run."""

    succeeded: bool
    output: str
    #: The programs that steps called, each with its arguments, and actions that need a plan of GitHub.
    calls: tuple[str, ...]

    def called(self, start: str) -> list[str]:
        """The calls that start with a text."""
        return [call for call in self.calls if call.startswith(start)]

    def result(self, job: str) -> str:
        """``succeeded``, ``failed``, or ``skipped`` for a job that did not run."""
        found = re.search(rf"^\[{job}\s*\] .*Job (succeeded|failed)$", self.output, re.MULTILINE)
        return found[1] if found else "skipped"


class Act:
    """Workflow runs of a fake forge."""

    def __init__(self, forge: Forge, fakes: Programs, folder: Path) -> None:
        self._forge = forge
        self._folder = folder
        self._calls = folder / "calls"
        self._report = folder / "scan.json"
        self._report.write_text(json.dumps({"SchemaVersion": 2, "Results": []}))
        self._actions = dict(self._write_actions())
        gitops = f'exec "{sys.executable}" -m gitops "$@"'
        record = f'printf \'%s\\n\' "$(basename "$0") $*" >> "{self._calls}"'
        # `uv run ... gitops gitops COMMAND` runs the real program.
        fakes.add(
            "uv",
            f"{record}\nwhile [ $# -gt 0 ]; do word=$1; shift\n"
            f'if [ "$word" = gitops ] && [ "$1" != gitops ]; then {gitops}; fi; done',
        )
        fakes.add("cosign", record)
        fakes.add("trivy", _TRIVY, language="python")
        failing = 'case " $* " in *" $FAILING "*) exit 1;; esac'
        for name in ("make", "syft", "sudo", "terraform", "tflint"):
            fakes.add(name, f"{record}\n{failing}")
        manifests = [
            {"digest": digest(number), "platform": {"architecture": architecture}}
            for number, architecture in ((8, "amd64"), (9, "arm64"))
        ]
        index = json.dumps({"manifests": manifests})
        fakes.add("docker", f"{record}\ncase \"$*\" in *' --raw '*) echo '{index}';; esac")

    def run(
        self,
        workflow: str,
        event: str,
        payload: Mapping[str, Any],
        *,
        failing: str = "none",
        variables: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a workflow for an event at the head of main.

        Args:
            failing: a word of the arguments with which ``make`` fails.
            variables: variables of the repository (Settings, Variables).
        """
        checkout = self._checkout()
        self._calls.write_text("")
        file = self._folder / "event.json"
        file.write_text(json.dumps({"ref": "refs/heads/main", **payload}))
        environment = {
            "ARTIFACTS": self._folder / f"artifacts-{checkout.directory.name}",
            "CALLS": self._calls,
            "FAILING": failing,
            "FORGE": self._forge.directory,
            "SCAN_REPORT": self._report,
        }
        done = subprocess.run(
            (
                *(str(programs.build(programs.ACT)), event, "--directory", checkout.directory),
                *("--workflows", checkout.directory / ".github/workflows" / workflow),
                *("--eventpath", file, "--platform", "ubuntu-24.04=-self-hosted"),
                *("--no-skip-checkout", "--remote-name", "github", "--concurrent-jobs", "1"),
                *("--no-cache-server", "--artifact-server-addr", "127.0.0.1"),
                *("--cache-server-addr", "127.0.0.1", "--defaultbranch", "main"),
                *("--action-cache-path", self._folder / "cache", "--log-prefix-job-id"),
                *(word for name, path in self._actions.items()
                  for word in ("--local-repository", f"{name}={path}")),
                *(word for name, value in environment.items()
                  for word in ("--env", f"{name}={value}")),
                *(word for name, value in (variables or {}).items()
                  for word in ("--var", f"{name}={value}")),
            ),
            capture_output=True, text=True, check=False, timeout=280, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        calls = tuple(self._calls.read_text().splitlines())
        return Run(done.returncode == 0, done.stdout + done.stderr, calls)

    def _checkout(self) -> Clone:
        """A clone with the workflows of this repository, and GitHub as a second remote."""
        clone = self._forge.clone()
        git(clone.directory, "remote", "add", "github", f"https://github.com/{SLUG}.git")
        return clone

    def _write_actions(self) -> Iterator[tuple[str, Path]]:
        """The replacement of each action, by ``OWNER/REPO@REF``."""
        for file in WORKFLOWS.glob("*.yml"):
            for name, ref in re.findall(r"uses: ([\w.-]+/[\w./-]+)@(\w+)", file.read_text()):
                repository = "/".join(name.split("/")[:2])
                folder = self._folder / "actions" / repository
                target = folder / name.removeprefix(repository).strip("/")
                target.mkdir(parents=True, exist_ok=True)
                (target / "action.yml").write_text(_action(repository))
                yield f"{repository}@{ref}", folder


def _action(repository: str) -> str:
    script = _SCRIPTS.get(repository, "true")
    step = {
        "id": "step",
        "shell": f"{_BASH} --noprofile --norc -eo pipefail {{0}}",
        "run": script,
        "env": {f"INPUT_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in _INPUTS},
    }
    return yaml.safe_dump(
        {
            "name": repository,
            "description": "A replacement for tests",
            "inputs": {name: {"description": name, "default": ""} for name in _INPUTS},
            "outputs": {
                name: {"description": name, "value": f"${{{{ steps.step.outputs.{name} }}}}"}
                for name in _OUTPUTS
            },
            "runs": {"using": "composite", "steps": [step]},
        }
    )
