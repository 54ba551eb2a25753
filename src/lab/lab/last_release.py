"""The last release: its commit, and a checkout of it for the test of upgrades.

It is the newest tag ``v*`` before the commit under test. While there is no tag, it is the commit in
``src/tests/e2e_upgrade/last-release``. The variable ``UPGRADE_FROM`` names another revision.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import paths, shell
from .errors import CommandFailed, LabError

VARIABLE = "UPGRADE_FROM"
PINNED = Path("src/tests/e2e_upgrade/last-release")


def revision(
    repository: Path = paths.REPOSITORY, environ: Mapping[str, str] = os.environ
) -> tuple[str, str]:
    """Return the name of the last release, and its commit.

    :raises LabError: the repository does not contain the commit.
    """
    git = ("git", "-C", repository)
    name = environ.get(VARIABLE, "")
    if not name:
        head = set(shell.run(*git, "tag", "--points-at", "HEAD").split())
        tags = shell.run(*git, "tag", "--merged", "HEAD", "--sort=-version:refname", "v*").split()
        earlier = [tag for tag in tags if tag not in head]
        name = earlier[0] if earlier else (repository / PINNED).read_text("utf-8").strip()
    try:
        commit = shell.run(*git, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except CommandFailed:
        raise LabError(
            f"this clone does not contain {name}; fetch the complete history and the tags"
        ) from None
    return name, commit


@contextmanager
def checkout(commit: str, repository: Path = paths.REPOSITORY) -> Iterator[Path]:
    """Yield a folder with the files of a commit. It is removed at the end."""
    git = ("git", "-C", repository)
    with tempfile.TemporaryDirectory(prefix="auditflow-last-release-") as temporary:
        folder = Path(temporary) / "checkout"
        shell.run(*git, "worktree", "add", "--quiet", "--detach", folder, commit)
        try:
            yield folder
        finally:
            shell.run(*git, "worktree", "remove", "--force", folder)
