"""The repository under test as a git repository of the lab's own: commits there harm nobody."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from . import paths, shell
from .errors import LabError

BRANCH = "main"
#: How often a push is tried, and how far back a commit is looked for.
_RACES = 5
_RECENT = 20
_AUTHOR = {
    "GIT_AUTHOR_NAME": "e2e",
    "GIT_AUTHOR_EMAIL": "e2e@auditflow.invalid",
    "GIT_COMMITTER_NAME": "e2e",
    "GIT_COMMITTER_EMAIL": "e2e@auditflow.invalid",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


class Repository:
    """A bare repository that is served, and a clone in which to make commits."""

    def __init__(self, folder: Path, name: str = "auditflow") -> None:
        self.bare = folder / f"{name}.git"
        self.work = folder / "work"

    def clone(self, name: str) -> Repository:
        """The same repository with a clone of its own, for someone who commits meanwhile."""
        other = copy.copy(self)
        other.work = self.work.with_name(f"work-{name}")
        shutil.rmtree(other.work, ignore_errors=True)
        shell.run("git", "clone", "-q", self.bare, other.work)
        return other

    def seed(self, source: Path = paths.REPOSITORY) -> str:
        """Take the files of a checkout as the first commit, uncommitted changes included.

        :returns: the commit.
        """
        for folder in (self.bare, self.work):
            shutil.rmtree(folder, ignore_errors=True)
        self.bare.parent.mkdir(parents=True, exist_ok=True)
        shell.run("git", "init", "-q", "--bare", "-b", BRANCH, self.bare)
        shell.run("git", "init", "-q", "-b", BRANCH, self.work)
        self.git("remote", "add", "origin", str(self.bare))
        listed = shell.run(
            *("git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        )
        for name in filter(None, listed.split("\0")):
            file, place = source / name, self.work / name
            if file.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, place)
        return self.commit("The repository under test")

    def commit(self, message: str) -> str:
        """Commit every change of the clone and push it; return the commit."""
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.push()

    def push(self) -> str:
        """Push the branch, on top of what others pushed meanwhile; return its head."""
        for _ in range(_RACES):
            try:
                self.git("push", "-q", "origin", BRANCH)
            except LabError:
                self.git("pull", "-q", "--rebase", "origin", BRANCH)
            else:
                return self.head()
        raise LabError(f"others pushed {_RACES} times while this clone tried to")

    def head(self) -> str:
        """The newest commit."""
        return self.git("rev-parse", "HEAD").strip()

    def revert(self) -> str:
        """Take back the newest commit by another, as a person does; return that."""
        self.git("revert", "--no-edit", "HEAD")
        return self.push()

    def contains(self, revision: str, commit: str) -> bool:
        """Whether a revision has a commit in it, as its newest or an older one."""
        known = ("git", "-C", self.bare, "rev-list", f"--max-count={_RECENT}", revision)
        return bool(revision) and commit in shell.run(*known).split()

    def merge(self, branch: str) -> str:
        """Merge a branch as a pull request is merged; return the merge commit."""
        self.git("checkout", "-q", BRANCH)
        self.git("merge", "-q", "--no-ff", "--no-edit", branch)
        self.git("branch", "-q", "-D", branch)
        return self.push()

    def git(self, *words: str) -> str:
        """Run git in the clone."""
        return shell.run("git", *words, cwd=self.work, env=_AUTHOR)
