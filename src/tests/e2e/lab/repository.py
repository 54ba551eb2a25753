"""The repository under test as a git repository of the lab's own: commits there harm nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import paths, shell

BRANCH = "main"
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
            file, copy = source / name, self.work / name
            if file.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)
        return self.commit("The repository under test")

    def commit(self, message: str) -> str:
        """Commit every change of the clone and push it; return the commit."""
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.push()

    def push(self) -> str:
        """Push the branch; return its head."""
        self.git("push", "-q", "origin", BRANCH)
        return self.head()

    def head(self) -> str:
        """The newest commit."""
        return self.git("rev-parse", "HEAD").strip()

    def revert(self) -> str:
        """Take back the newest commit by another, as a person does; return that."""
        self.git("revert", "--no-edit", "HEAD")
        return self.push()

    def merge(self, branch: str) -> str:
        """Merge a branch as a pull request is merged; return the merge commit."""
        self.git("checkout", "-q", BRANCH)
        self.git("merge", "-q", "--no-ff", "--no-edit", branch)
        self.git("branch", "-q", "-D", branch)
        return self.push()

    def git(self, *words: str) -> str:
        """Run git in the clone."""
        return shell.run("git", *words, cwd=self.work, env=_AUTHOR)
