"""A fake forge: a bare git repository in place of GitHub, and clones of it."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gitops import layout, pin
from gitops.git import Identity, Repository
from gitops.pin import Pin
from gitops.releases import Release

ROOT = Path(__file__).resolve().parents[3]
BOT = Identity("bot", "bot@example.org")
#: The digest of a pin without an image.
ZERO_DIGEST = f"sha256:{'0' * 64}"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(service: str) -> str:
    return f"docker.io/jojees/auditflow-{service}"


def git(directory: Path, *arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ("git", "-C", str(directory), *arguments),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Clone:
    """A clone with a working tree."""

    directory: Path

    @property
    def repository(self) -> Repository:
        return Repository(self.directory)

    def commit(self, files: Mapping[str, str], message: str = "a change") -> str:
        for name, content in files.items():
            file = self.directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        git(self.directory, "add", "--all")
        git(self.directory, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    def merge(self, branch: str) -> str:
        """Merge a branch into main, as the merge of a pull request does."""
        git(self.directory, "fetch", "--quiet", "origin")
        git(
            self.directory,
            "merge",
            "--quiet",
            "--no-ff",
            "--message",
            f"Merge {branch}",
            f"origin/{branch}",
        )
        return self.push()

    def push(self, branch: str = "main") -> str:
        git(self.directory, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return self.head

    def pull(self) -> str:
        git(self.directory, "pull", "--quiet", "--rebase", "origin", "main")
        return self.head

    @property
    def head(self) -> str:
        return git(self.directory, "rev-parse", "HEAD")


@dataclass
class Forge:
    """The bare repository."""

    directory: Path
    clones: Path
    _count: int = field(default=0)

    def clone(self, *options: str) -> Clone:
        self._count += 1
        directory = self.clones / f"clone-{self._count}"
        git(self.clones, "clone", "--quiet", *options, f"file://{self.directory}", str(directory))
        return Clone(directory)

    def hook(self, name: str, script: str) -> None:
        """Install a server-side git hook."""
        file = self.directory / "hooks" / name
        file.write_text(f"#!/bin/sh\nset -eu\n{script}\n")
        file.chmod(0o755)

    def head(self, branch: str = "main") -> str:
        return git(self.directory, "rev-parse", f"refs/heads/{branch}")

    def branches(self) -> set[str]:
        return set(
            git(self.directory, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
        )

    def log(self, branch: str = "main") -> list[str]:
        return git(self.directory, "log", "--format=%s", branch).splitlines()

    def pin(self, service: str, environment: str, *, at: str = "main") -> Pin:
        path = layout.release(service, environment)
        return pin.read(git(self.directory, "show", f"{at}:{path}").encode(), path=path)

    def show(self, path: str, *, at: str = "main") -> str:
        return git(self.directory, "show", f"{at}:{path}")


def release(service: str, commit: str, number: int = 1) -> Release:
    return Release(service=service, image=image(service), commit=commit, digest=digest(number))


@dataclass
class Programs:
    """A folder of fake programs."""

    folder: Path

    def add(self, name: str, script: str, *, language: str = "sh") -> Path:
        file = self.folder / name
        # -IS makes Python start fast; a test starts the program about ten times.
        first = "#!/bin/sh" if language == "sh" else f"#!{sys.executable} -IS"
        file.write_text(f"{first}\n{script}\n")
        file.chmod(0o755)
        return file
