"""Read the history of deployments from two files that git wrote. Pure.

The exporter runs in the public image of Python, which has no git. A container with git writes:

- ``commits``: ``git log --first-parent --format='%H %ct'``, newest first;
- ``pins``: ``git log --first-parent --reverse --unified=0 --format='commit %H %ct' --patch`` of the
  release components of one environment, oldest first.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from gitops.dora import Deployment, PinChange
from gitops.errors import GitOpsError

_COMMIT: Final = re.compile(r"commit ([0-9a-f]{40}) (\d+)")
_FILE: Final = re.compile(
    r"\+\+\+ b/apps/([a-z0-9-]+)/envs/([a-z0-9-]+)/release/kustomization\.yaml"
)
_TAG: Final = re.compile(r"\+ +newTag: \"?([^\"]+)\"?")
_RELEASED: Final = re.compile(r"[0-9a-f]{40}")
_DIGEST: Final = re.compile(r"\+ +digest: (sha256:[0-9a-f]{64})")


def commits(text: str) -> dict[str, float]:
    """The time of each commit of the main branch, newest first, in seconds since 1970.

    Raises:
        GitOpsError: a line is not valid.
    """
    found = {}
    for line in text.splitlines():
        commit, _, seconds = line.partition(" ")
        if not seconds.isdigit():
            raise GitOpsError(f"the list of commits contains the invalid line {line[:80]!r}")
        found[commit] = float(seconds)
    return found


def deployments(patches: str, written: Mapping[str, float], environment: str) -> list[Deployment]:
    """The deployments of an environment, oldest first.

    Args:
        patches: the file ``pins``. A pin that is not released has no commit as its tag, and is
            ignored.
        written: the time of each commit.
    """
    found: list[Deployment] = []
    current: dict[str, str] = {}
    tags: dict[str, str] = {}
    commit, at, service = "", 0.0, ""
    changes: list[PinChange] = []

    def finish() -> None:
        if changes:
            found.append(Deployment(at, tuple(changes), commit))

    for line in patches.splitlines():
        if start := _COMMIT.fullmatch(line):
            finish()
            commit, at, service, changes = start[1], float(start[2]), "", []
        elif line.startswith("+++ "):
            named = _FILE.fullmatch(line)
            service = named[1] if named and named[2] == environment else ""
        elif (pinned := _TAG.fullmatch(line)) and service:
            tags[service] = pinned[1]
        elif (digest := _DIGEST.fullmatch(line)) and service:
            tag = tags.get(service, "")
            if _RELEASED.fullmatch(tag) and current.get(service) != digest[1]:
                current[service] = digest[1]
                changes.append(PinChange(service, digest[1], written.get(tag)))
    finish()
    return found


def contains(order: Mapping[str, float]) -> Callable[[str, str], bool]:
    """Return a function: whether the second commit of the main branch contains the first one."""
    position = {commit: number for number, commit in enumerate(order)}

    def newer_contains(older: str, newer: str) -> bool:
        return older in position and newer in position and position[newer] <= position[older]

    return newer_contains
