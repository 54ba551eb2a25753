"""A copy of the repository under test, for commits of the tests."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from . import paths, shell
from .errors import LabError

BRANCH = "main"
#: Maximum number of push attempts, and of searched commits.
_PUSH_ATTEMPTS = 5
_RECENT = 20
_AUTHOR = {
    "GIT_AUTHOR_NAME": "e2e",
    "GIT_AUTHOR_EMAIL": "e2e@auditflow.invalid",
    "GIT_COMMITTER_NAME": "e2e",
    "GIT_COMMITTER_EMAIL": "e2e@auditflow.invalid",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


class Repository:
    """A served bare repository and a clone for commits."""

    def __init__(self, folder: Path, name: str = "auditflow") -> None:
        self.bare = folder / f"{name}.git"
        self.work = folder / "work"

    def clone(self, name: str) -> Repository:
        """Return the same repository with its own clone, for a background task."""
        other = copy.copy(self)
        other.work = self.work.with_name(f"work-{name}")
        shutil.rmtree(other.work, ignore_errors=True)
        shell.run("git", "clone", "-q", self.bare, other.work)
        return other

    def seed(self, source: Path = paths.REPOSITORY) -> str:
        """Commit the files of a checkout, uncommitted changes included.

        :returns: the commit.
        """
        for folder in (self.bare, self.work):
            shutil.rmtree(folder, ignore_errors=True)
        self.bare.parent.mkdir(parents=True, exist_ok=True)
        shell.run("git", "init", "-q", "--bare", "-b", BRANCH, self.bare)
        shell.run("git", "init", "-q", "-b", BRANCH, self.work)
        self.git("remote", "add", "origin", str(self.bare))
        self._copy(source)
        return self.commit("The repository under test")

    def replace(self, source: Path) -> None:
        """Replace all files of the clone by the files of a checkout. Nothing is committed."""
        self.git("rm", "-r", "-q", "--force", ".")
        self._copy(source)

    def _copy(self, source: Path) -> None:
        listed = shell.run(
            *("git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        )
        for name in filter(None, listed.split("\0")):
            file, target = source / name, self.work / name
            if file.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)

    def commit(self, message: str) -> str:
        """Commit every change of the clone and push it; return the commit."""
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.push()

    def marked_commits(self, names: list[str]) -> dict[str, str]:
        """Return an empty commit for each name, in this order. Missing commits are created."""
        log = self.git("log", "--format=%s %H", "--grep=^Version ")
        found = dict(line.removeprefix("Version ").split() for line in log.splitlines())
        for name in names:
            if name not in found:
                self.git("commit", "-q", "--allow-empty", "-m", f"Version {name}")
                found[name] = self.push()
        return found

    def push(self) -> str:
        """Rebase on the served branch and push. Returns the head."""
        for _ in range(_PUSH_ATTEMPTS):
            try:
                self.git("push", "-q", "origin", BRANCH)
            except LabError:
                self.git("pull", "-q", "--rebase", "origin", BRANCH)
            else:
                return self.head()
        raise LabError(f"{_PUSH_ATTEMPTS} pushes failed, because others pushed at the same time")

    def head(self) -> str:
        """Return the newest commit."""
        return self.git("rev-parse", "HEAD").strip()

    def revert(self) -> str:
        """Revert the newest commit. Returns the new commit."""
        self.git("revert", "--no-edit", "HEAD")
        return self.push()

    def contains(self, revision: str, commit: str) -> bool:
        """Return whether a revision contains a commit."""
        known = ("git", "-C", self.bare, "rev-list", f"--max-count={_RECENT}", revision)
        return bool(revision) and commit in shell.run(*known).split()

    def merge(self, branch: str) -> str:
        """Merge a served branch like a pull request. Returns the merge commit."""
        self.git("fetch", "-q", "origin")
        self.git("merge", "-q", "--ff-only", f"origin/{BRANCH}")
        self.git("merge", "-q", "--no-ff", "--no-edit", f"origin/{branch}")
        return self.push()

    def git(self, *words: str) -> str:
        """Run git in the clone."""
        return shell.run("git", *words, cwd=self.work, env=_AUTHOR)
