"""Calls git. It never changes the working tree, the index or the branches of a clone.

Commits are created from objects and pushed by their id. Therefore several processes and a person
can use the same clone at the same time, and uncommitted work is safe.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from gitops.errors import (
    CommandError,
    LostRaceError,
    PushRefusedError,
    ShallowCloneError,
    UnknownRevisionError,
)

#: Output of git push when another push came first: the remote branch changed, the lease is stale,
#: or another push holds the lock of the reference.
_RACES: Final = (
    "(fetch first)",
    "(non-fast-forward)",
    "(stale info)",
    "(cannot lock ref",
    "(failed to update ref",
    "(incorrect old value provided)",
    "(reference already exists)",
)


@dataclass(frozen=True)
class Identity:
    """The author and committer of a commit."""

    name: str
    email: str


@dataclass(frozen=True)
class Entry:
    """A commit of a log."""

    commit: str
    author: str
    subject: str


class Repository:
    """A clone and the remote to which it pushes."""

    def __init__(self, directory: Path, *, remote: str = "origin") -> None:
        self.directory = directory
        self.remote = remote

    def identity(self) -> Identity | None:
        """The user from the git configuration, or None if it is not set."""
        name, email = (
            self._try("config", f"user.{key}").stdout.decode().strip() for key in ("name", "email")
        )
        return Identity(name, email) if name and email else None

    def resolve(self, revision: str) -> str:
        """The full commit id of a branch, a tag or an abbreviated id.

        Raises:
            UnknownRevisionError: the revision does not exist in this clone.
        """
        process = self._try(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        if process.returncode:
            raise UnknownRevisionError(revision)
        return process.stdout.decode().strip()

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``older`` is an ancestor of ``newer``. A commit is an ancestor of itself.

        Raises:
            ShallowCloneError: the history is incomplete, so the answer could be wrong.
            UnknownRevisionError: one of the commits does not exist in this clone.
        """
        if self._text("rev-parse", "--is-shallow-repository") == "true":
            raise ShallowCloneError
        pair = self.resolve(older), self.resolve(newer)
        return self._try("merge-base", "--is-ancestor", *pair).returncode == 0

    def merge_base(self, first: str, second: str) -> str:
        """The newest common ancestor of two commits."""
        return self._text("merge-base", self.resolve(first), self.resolve(second))

    def read(self, revision: str, path: str) -> bytes | None:
        """The content of a file in a commit, or None if the file does not exist."""
        process = self._try("cat-file", "blob", f"{revision}:{path}")
        return None if process.returncode else process.stdout

    def files(self, revision: str, *paths: str) -> tuple[str, ...]:
        """The files of a commit below the given paths."""
        return _lines(self._run("ls-tree", "-r", "-z", "--name-only", revision, "--", *paths))

    def changed(self, base: str, head: str) -> tuple[str, ...]:
        """The files that ``head`` changed since the merge base. A rename counts as two files."""
        return _lines(self._run("diff", "--name-only", "-z", "--no-renames", f"{base}...{head}"))

    def changed_by(self, commit: str) -> tuple[str, ...]:
        """The files in which a commit differs from its first parent. A rename counts as two."""
        return _lines(self._run("diff", "--name-only", "-z", "--no-renames", f"{commit}^1", commit))

    def subject(self, commit: str) -> str:
        """The first line of a commit's message."""
        return self._text("log", "-1", "--format=%s", commit)

    def committed_at(self, commit: str) -> float | None:
        """When a commit was committed, in seconds since 1970. None: it is not in this clone."""
        process = self._try("log", "-1", "--format=%ct", "--end-of-options", commit)
        return float(process.stdout) if process.returncode == 0 else None

    def parents(self, commit: str) -> tuple[str, ...]:
        """The ids of the parent commits."""
        return tuple(self._text("log", "-1", "--format=%P", commit).split())

    def log(
        self, base: str | None, head: str, *paths: str, limit: int, first_parent: bool = False
    ) -> tuple[Entry, ...]:
        """The newest commits in ``head`` and not in ``base`` that change these paths.

        With ``first_parent``, a merged branch counts as one commit: the merge.
        """
        span = f"{base}..{head}" if base else head
        walk = ("--first-parent", "-m") if first_parent else ()
        output = self._run(
            "log",
            *walk,
            "-z",
            "--no-patch",
            f"--max-count={limit}",
            "--format=%H%x1f%an%x1f%s",
            span,
            "--",
            *paths,
        )
        return tuple(Entry(*line.split("\x1f", 2)) for line in _lines(output))

    def export(self, revision: str, directory: Path, *paths: str) -> None:
        """Write the files of a commit below the given paths into an empty folder."""
        with self._temporary_index() as environment:
            self._run("read-tree", revision, environment=environment)
            names = "".join(f"{name}\0" for name in self.files(revision, *paths))
            self._run(
                "checkout-index",
                "-z",
                "--stdin",
                f"--prefix={directory}/",
                environment=environment,
                text=names.encode(),
            )

    def fetch(self, branch: str) -> str | None:
        """The current head of the remote branch, or None if the branch does not exist."""
        if not self._text("ls-remote", self.remote, f"refs/heads/{branch}"):
            return None
        # Use a unique reference: two processes that write the same reference block each other.
        temporary_ref = f"refs/gitops/{uuid4().hex}"
        refspec = f"+refs/heads/{branch}:{temporary_ref}"
        self._run("fetch", "--quiet", "--no-tags", "--refmap=", self.remote, refspec)
        commit = self.resolve(temporary_ref)
        self._run("update-ref", "-d", temporary_ref)
        return commit

    def commit(
        self, parent: str, files: Mapping[str, bytes | None], *, message: str, identity: Identity
    ) -> str:
        """Create a commit on top of ``parent`` that writes these files. No branch points to it.

        None deletes a file.
        """
        with self._temporary_index() as environment:
            self._run("read-tree", parent, environment=environment)
            for path, content in files.items():
                if content is None:
                    self._run("update-index", "--force-remove", "--", path, environment=environment)
                    continue
                blob = self._run("hash-object", "-w", "--stdin", text=content).decode().strip()
                self._run(
                    "update-index",
                    "--add",
                    "--cacheinfo",
                    f"100644,{blob},{path}",
                    environment=environment,
                )
            tree = self._run("write-tree", environment=environment).decode().strip()
        return (
            self._run(
                "commit-tree",
                tree,
                "-p",
                parent,
                text=message.encode(),
                environment={
                    "GIT_AUTHOR_NAME": identity.name,
                    "GIT_AUTHOR_EMAIL": identity.email,
                    "GIT_COMMITTER_NAME": identity.name,
                    "GIT_COMMITTER_EMAIL": identity.email,
                },
            )
            .decode()
            .strip()
        )

    def trailer(self, commit: str, key: str) -> str | None:
        """The last value of a trailer in a commit message, or None."""
        values = self._text("log", "-1", f"--format=%(trailers:key={key},valueonly)", commit)
        return values.splitlines()[-1] if values else None

    def push(self, commit: str, branch: str) -> None:
        """Fast-forward the remote branch to a commit.

        Raises:
            LostRaceError: the branch has commits that are not ancestors of this commit.
            PushRefusedError: a rule of the remote refuses the push.
        """
        self._push(branch, f"{commit}:refs/heads/{branch}")

    def replace(self, commit: str | None, branch: str, *, expected: str | None) -> None:
        """Replace the head of one of the bot's branches, or delete the branch (``commit`` is None).

        Raises:
            LostRaceError: the head of the branch is no longer ``expected``.
            PushRefusedError: a rule of the remote refuses the push.
        """
        lease = f"--force-with-lease=refs/heads/{branch}:{expected or ''}"
        self._push(branch, lease, f"{commit or ''}:refs/heads/{branch}")

    def _push(self, branch: str, *arguments: str) -> None:
        # Push to the URL: a push to the remote's name also updates the remote-tracking branches.
        url = self._text("remote", "get-url", "--push", self.remote)
        process = self._try("push", "--porcelain", "--no-verify", url, *arguments)
        if process.returncode == 0:
            return
        output = (process.stdout + process.stderr).decode(errors="replace")
        if any(race in output for race in _RACES):
            raise LostRaceError(branch)
        if "rejected]" in output:
            raise PushRefusedError(branch, output)
        raise CommandError(f"git push to {branch}", output)

    @contextmanager
    def _temporary_index(self) -> Iterator[dict[str, str]]:
        with tempfile.TemporaryDirectory(prefix="gitops-") as folder:
            yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}

    def _text(self, *arguments: str) -> str:
        return self._run(*arguments).decode(errors="replace").strip()

    def _run(
        self,
        *arguments: str,
        text: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        process = self._try(*arguments, text=text, environment=environment)
        if process.returncode:
            output = (process.stderr + process.stdout).decode(errors="replace")
            raise CommandError(f"git {arguments[0]}", output)
        return process.stdout

    def _try(
        self,
        *arguments: str,
        text: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ("git", "-C", str(self.directory), *arguments),
            input=text,
            capture_output=True,
            check=False,
            # The output is parsed, so it must be in English, and git must not ask for a password.
            env={**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(environment or {})},
        )


def _lines(output: bytes) -> tuple[str, ...]:
    return tuple(part for part in output.decode(errors="replace").split("\0") if part)
