"""Replace the owner, the repository, the registry, the signer and the host names of a fork.

The current names are in ``origin``. Every file that names them is rewritten, so the result does not
depend on the number of runs.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops import layout, origin, pin
from gitops.errors import CommandError, GitOpsError
from gitops.git import Repository
from gitops.pin import Pin

#: The registries that the build can push to.
REGISTRIES: Final = ("ghcr.io", "docker.io")
#: Files that keep the names of the original project.
KEPT: Final = ("CHANGELOG.md", "LICENSE")
#: Folders whose host names are reached, and the hosts other than ``auditflow.<domain>``.
_DEPLOYED: Final = ("apps/", "bootstrap/", "clusters/", "monitoring/")
_HOSTS: Final = ("argocd", "dex", "grafana")
#: The generator of previews names the owner and the repository in two fields.
_PREVIEWS: Final = "clusters/previews/application-set.yaml"
_ORIGIN: Final = "src/gitops/gitops/origin.py"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_ZERO_DIGEST: Final = f"sha256:{'0' * 64}"


class InvalidNameError(GitOpsError):
    """An owner, a repository or a domain is not valid."""

    def __init__(self, option: str, value: str, expected: str) -> None:
        super().__init__(f"--{option} {value!r} is not valid; expected {expected}")


class DirtyTreeError(GitOpsError):
    """The working tree has uncommitted changes, which the commit would include."""

    def __init__(self) -> None:
        super().__init__(
            "the working tree has uncommitted changes. Commit or stash them, then run gitops init"
            " again"
        )


@dataclass(frozen=True)
class Names:
    """The names of a repository. ``registry`` is where its images are pushed."""

    owner: str
    repository: str
    domain: str
    registry: str = REGISTRIES[0]

    def __post_init__(self) -> None:
        """Refuse invalid names before a file is changed.

        Raises:
            InvalidNameError: names the option.
        """
        for option, value in (("owner", self.owner), ("repo", self.repository)):
            if not _NAME.fullmatch(value):
                raise InvalidNameError(option, value, "a name as in github.com/OWNER/REPO")
        if not _DOMAIN.fullmatch(self.domain):
            raise InvalidNameError("domain", self.domain, "a DNS domain in lower case")
        if self.registry not in REGISTRIES:
            raise InvalidNameError("registry", self.registry, " or ".join(REGISTRIES))

    @property
    def image_owner(self) -> str:
        """The owner in image names, which must be in lower case."""
        return self.owner.lower()


#: The names before the change.
CURRENT: Final = Names(origin.OWNER, origin.REPOSITORY, origin.DOMAIN)


def rewrite(path: str, text: str, new: Names, old: Names = CURRENT) -> str:
    """The text of a file with the new names. ``path`` is relative to the root. Pure."""
    if path in KEPT:
        return text
    if path.endswith("/release/kustomization.yaml"):
        return _rewrite_pin(path, text, new, old)
    if path == _ORIGIN:
        for constant, before, after in (
            ("OWNER", old.owner, new.owner),
            ("REPOSITORY", old.repository, new.repository),
            ("DOMAIN", old.domain, new.domain),
        ):
            text = text.replace(f'{constant}: Final = "{before}"', f'{constant}: Final = "{after}"')
        return text
    for pattern, replacement in _patterns(path, new, old):
        text = re.sub(pattern, lambda _, fixed=replacement: fixed, text)  # type: ignore[misc]
    return text


def _patterns(path: str, new: Names, old: Names) -> list[tuple[str, str]]:
    owner, repository = re.escape(old.owner), re.escape(old.repository)
    end = r"(?![\w-])"
    patterns = [
        (rf"(?<![\w-]){owner}/{repository}{end}", f"{new.owner}/{new.repository}"),
        (
            rf"(?<![\w-]){re.escape(old.image_owner)}/(?={layout.IMAGE_PREFIX})",
            f"{new.image_owner}/",
        ),
        (rf"\bcd {repository}{end}", f"cd {new.repository}"),
        (rf"\bauditflow\.{re.escape(old.domain)}{end}", f"auditflow.{new.domain}"),
    ]
    if path == _PREVIEWS:
        patterns.append((rf"(?m)(?<=owner: ){owner}$", new.owner))
        patterns.append((rf"(?m)(?<=repo: ){repository}$", new.repository))
    if path.startswith(_DEPLOYED):
        for host in _HOSTS:
            patterns.append(
                (rf"(?<![\w-]){host}\.{re.escape(old.domain)}{end}", f"{host}.{new.domain}")
            )
        domain = re.escape(old.domain)
        patterns.append((rf"domainFilters: \[{domain}\]", f"domainFilters: [{new.domain}]"))
    if path == ".github/CODEOWNERS":
        patterns.append((rf"@{owner}{end}", f"@{new.owner}"))
    return patterns


def _rewrite_pin(path: str, text: str, new: Names, old: Names) -> str:
    """A pin of the old owner becomes unreleased: the new owner's build has not signed its image."""
    current = pin.read(text.encode(), path=path)
    image = f"{new.registry}/{new.image_owner}/{layout.IMAGE_PREFIX}{current.service}"
    if current.image == image or (current.released and new.owner == old.owner):
        return text
    unreleased = Pin(service=current.service, image=image, tag=pin.UNRELEASED, digest=_ZERO_DIGEST)
    return pin.write(unreleased).decode()


def initialise(
    root: Path, new: Names, regenerate: Callable[[Path], None] | None = None
) -> list[str]:
    """Rewrite all tracked files of a clone. Returns the changed paths.

    ``regenerate`` updates generated files whose layout depends on the names.

    Raises:
        DirtyTreeError: the working tree has uncommitted changes.
    """
    if _git(root, "status", "--porcelain"):
        raise DirtyTreeError
    for path in _git(root, "ls-files", "-z").split("\0"):
        file = root / path
        if not path or file.is_symlink() or not file.is_file():
            continue
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a binary file
        if (rewritten := rewrite(path, text, new)) != text:
            file.write_text(rewritten, "utf-8")
    (regenerate or refresh_rules)(root)
    return [line[3:] for line in _git(root, "status", "--porcelain").splitlines()]


def refresh_rules(root: Path) -> None:
    """Update the line breaks and the hashes of Prometheus' generated rules, without sloth."""
    script = root / "monitoring/make_rules.py"
    if not script.exists():
        return
    process = subprocess.run(
        (sys.executable, str(script), "--refresh"), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise CommandError(f"{script} --refresh", process.stderr or process.stdout)


def commit(repository: Repository, new: Names) -> str:
    """Commit all changes to the current branch. Returns the commit id."""
    root = repository.directory
    _git(root, "add", "--all")
    message = (
        f"Initialise {new.owner}/{new.repository}\n\n"
        "gitops init replaced the owner, the repository, the registry, the signer and the host"
        " names.\n"
    )
    _git(root, "commit", "--quiet", "--message", message)
    return repository.resolve("HEAD")


def _git(root: Path, *arguments: str) -> str:
    process = subprocess.run(
        ("git", "-C", str(root), *arguments), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise CommandError(f"git {arguments[0]}", process.stderr or process.stdout)
    return process.stdout.rstrip("\n")
