"""git, by its program. Nothing here touches the working tree, the index or the branches of a clone.

Commits are made from objects and pushed by their id, so several processes and a person may use the
same clone at once, and a person's unsaved work is never in the way.
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

#: What git says of a push when somebody else was faster: a remote that moved, a lease that is
#: stale, or a reference that another push holds at this moment.
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
    """Who signs for a commit."""

    name: str
    email: str


@dataclass(frozen=True)
class Entry:
    """A commit of a log."""

    commit: str
    author: str
    subject: str


class Repository:
    """A clone, and the remote that it pushes to."""

    def __init__(self, directory: Path, *, remote: str = "origin") -> None:
        self.directory = directory
        self.remote = remote

    def identity(self) -> Identity | None:
        """Whoever works in this clone, as git's settings say."""
        said = [
            self._try("config", f"user.{key}").stdout.decode().strip() for key in ("name", "email")
        ]
        return Identity(said[0], said[1]) if all(said) else None

    def resolve(self, revision: str) -> str:
        """The id of the commit that a branch, tag or shorter id names.

        Raises:
            UnknownRevisionError: there is none.
        """
        done = self._try(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        if done.returncode:
            raise UnknownRevisionError(revision)
        return done.stdout.decode().strip()

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether everything in ``older`` is in ``newer`` too; a commit is its own ancestor.

        Raises:
            ShallowCloneError: the history is cut, so the answer could be wrong.
            UnknownRevisionError: one of the two is not there.
        """
        if self._text("rev-parse", "--is-shallow-repository") == "true":
            raise ShallowCloneError
        pair = self.resolve(older), self.resolve(newer)
        return self._try("merge-base", "--is-ancestor", *pair).returncode == 0

    def merge_base(self, one: str, other: str) -> str:
        """The last commit that two have in common."""
        return self._text("merge-base", self.resolve(one), self.resolve(other))

    def read(self, revision: str, path: str) -> bytes | None:
        """A file of a commit, or None where the commit has no such file."""
        done = self._try("cat-file", "blob", f"{revision}:{path}")
        return None if done.returncode else done.stdout

    def files(self, revision: str, *paths: str) -> tuple[str, ...]:
        """The files of a commit below some paths."""
        return _lines(self._run("ls-tree", "-r", "-z", "--name-only", revision, "--", *paths))

    def changed(self, base: str, head: str) -> tuple[str, ...]:
        """The files that ``head`` changed since it left ``base``; a renamed file counts as two."""
        return _lines(self._run("diff", "--name-only", "-z", "--no-renames", f"{base}...{head}"))

    def subject(self, commit: str) -> str:
        """The first line of a commit's message."""
        return self._text("log", "-1", "--format=%s", commit)

    def parents(self, commit: str) -> tuple[str, ...]:
        """The commits that a commit was made on."""
        return tuple(self._text("log", "-1", "--format=%P", commit).split())

    def log(
        self, base: str | None, head: str, *paths: str, limit: int, first_parent: bool = False
    ) -> tuple[Entry, ...]:
        """The newest commits of ``head`` that ``base`` has not, that touch these paths.

        Along the ``first_parent`` only, what was merged is one commit: the merge.
        """
        span = f"{base}..{head}" if base else head
        walk = ("--first-parent", "-m") if first_parent else ()
        said = self._run(
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
        return tuple(Entry(*line.split("\x1f", 2)) for line in _lines(said))

    def export(self, revision: str, directory: Path, *paths: str) -> None:
        """Write the files of a commit below some paths into an empty folder."""
        with self._own_index() as environment:
            self._run("read-tree", revision, environment=environment)
            found = "".join(f"{name}\0" for name in self.files(revision, *paths))
            self._run(
                "checkout-index",
                "-z",
                "--stdin",
                f"--prefix={directory}/",
                environment=environment,
                text=found.encode(),
            )

    def fetch(self, branch: str) -> str | None:
        """The remote's branch as it is at this moment, or None where there is none."""
        if not self._text("ls-remote", self.remote, f"refs/heads/{branch}"):
            return None
        # A reference of its own: two processes that write the same one would wait for each other.
        mine = f"refs/gitops/{uuid4().hex}"
        source = f"+refs/heads/{branch}:{mine}"
        self._run("fetch", "--quiet", "--no-tags", "--refmap=", self.remote, source)
        commit = self.resolve(mine)
        self._run("update-ref", "-d", mine)
        return commit

    def commit(
        self, parent: str, files: Mapping[str, bytes], *, message: str, identity: Identity
    ) -> str:
        """A commit on top of ``parent`` with these files written; only an object, on no branch."""
        with self._own_index() as environment:
            self._run("read-tree", parent, environment=environment)
            for path, content in files.items():
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
        """The last value under a key at the end of a commit's message."""
        values = self._text("log", "-1", f"--format=%(trailers:key={key},valueonly)", commit)
        return values.splitlines()[-1] if values else None

    def push(self, commit: str, branch: str) -> None:
        """Let the remote's branch go forward to a commit.

        Raises:
            LostRaceError: the branch has something that the commit does not know.
            PushRefusedError: the remote has a rule against it.
        """
        self._push(branch, f"{commit}:refs/heads/{branch}")

    def replace(self, commit: str | None, branch: str, *, expected: str | None) -> None:
        """Put a commit (or nothing) in the place of what is on a branch of the bot's own.

        Raises:
            LostRaceError: the branch is not what was ``expected`` any more.
            PushRefusedError: the remote has a rule against it.
        """
        lease = f"--force-with-lease=refs/heads/{branch}:{expected or ''}"
        self._push(branch, lease, f"{commit or ''}:refs/heads/{branch}")

    def _push(self, branch: str, *arguments: str) -> None:
        # To its address and not to its name, which would write the clone's view of the remote too.
        address = self._text("remote", "get-url", "--push", self.remote)
        done = self._try("push", "--porcelain", "--no-verify", address, *arguments)
        if done.returncode == 0:
            return
        said = f"{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"
        if any(race in said for race in _RACES):
            raise LostRaceError(branch)
        if "rejected]" in said:
            raise PushRefusedError(branch, said)
        raise CommandError(f"git push to {branch}", said)

    @contextmanager
    def _own_index(self) -> Iterator[dict[str, str]]:
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
        done = self._try(*arguments, text=text, environment=environment)
        if done.returncode:
            command = f"git {arguments[0]}"
            raise CommandError(command, (done.stderr + done.stdout).decode(errors="replace"))
        return done.stdout

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
            # What git says is read, so it must not be translated; and it must not ask.
            env={**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(environment or {})},
        )


def _lines(said: bytes) -> tuple[str, ...]:
    return tuple(part for part in said.decode(errors="replace").split("\0") if part)
