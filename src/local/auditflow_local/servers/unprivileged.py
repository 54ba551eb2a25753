"""Runs PostgreSQL for root, because PostgreSQL refuses to run as root.

The first choice is a user namespace that maps root to another uid. The data stay in the requested
folder and belong to root. Many containers do not permit namespaces. There, the server runs as
another user, its data are in a folder below /var/lib, and the requested folder is a link to it.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError

#: Data folders for servers that run as another user.
ELSEWHERE: Final = Path("/var/lib/auditflow")
_ACCOUNTS: Final = ("postgres", "nobody")


@dataclass(frozen=True)
class DataFolder:
    """A folder for the server, with the command prefix or user that may write to it."""

    path: Path
    prefix: tuple[str, ...] = ()
    user: str | None = None

    def give_access(self, path: Path) -> None:
        """Give the server access to a file or folder."""
        if self.user:
            shutil.chown(path, self.user)


def prepare(requested: Path, *, label: str, namespaces: bool = True) -> DataFolder:
    """Create ``requested`` as a folder, or as a link to one, that an unprivileged server can use.

    ``label`` names the folder below ``ELSEWHERE``. ``namespaces=False`` does not use namespaces.
    """
    if os.geteuid() != 0:
        requested.mkdir(mode=0o700, parents=True, exist_ok=True)
        return DataFolder(requested)
    account = _account()
    if namespaces and not requested.is_symlink() and _namespaces_permitted(account):
        requested.mkdir(mode=0o700, parents=True, exist_ok=True)
        return DataFolder(requested, _namespace(account))
    return DataFolder(_elsewhere(requested, label, account), user=account.pw_name)


def remove(requested: Path) -> None:
    """Remove a folder that ``prepare`` created, and the target of its link."""
    if requested.is_symlink():
        target = requested.readlink()
        if ELSEWHERE in target.parents:
            shutil.rmtree(target, ignore_errors=True)
        requested.unlink()
    shutil.rmtree(requested, ignore_errors=True)


def _account() -> pwd.struct_passwd:
    for name in _ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LocalError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")


def _namespace(account: pwd.struct_passwd) -> tuple[str, ...]:
    return (
        "unshare",
        "--user",
        f"--map-user={account.pw_uid}",
        f"--map-group={account.pw_gid}",
        "--",
    )


def _namespaces_permitted(account: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run((*_namespace(account), "true"), capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _elsewhere(requested: Path, label: str, account: pwd.struct_passwd) -> Path:
    if requested.is_symlink() and requested.exists():
        return requested.resolve()
    ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = ELSEWHERE / label
    if requested.is_dir() and not requested.is_symlink():
        # Data from an earlier start with namespaces.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(requested, folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    requested.parent.mkdir(parents=True, exist_ok=True)
    requested.unlink(missing_ok=True)
    requested.symlink_to(folder)
    return folder
