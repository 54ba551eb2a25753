"""How root runs PostgreSQL, which refuses to be root.

First choice: a user namespace in which root has another number. The data stay where they are
wanted and belong to root, and it does not matter who may walk through the folders above. Where
namespaces are not permitted (many containers), the server runs as another user, and its data are
in a folder under /var/lib that this user can reach, with a link from the folder wanted.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditflow_local.errors import LocalError

#: Where data go that their own folder cannot hold.
ELSEWHERE: Final = Path("/var/lib/auditflow")
_ACCOUNTS: Final = ("postgres", "nobody")


@dataclass(frozen=True)
class Place:
    """A folder for the server, and how a program runs that may write there."""

    folder: Path
    prefix: tuple[str, ...] = ()
    user: str | None = None

    def give(self, path: Path) -> None:
        """Make a file of ours readable for the server."""
        if self.user:
            shutil.chown(path, self.user)


def place(wanted: Path, *, label: str, namespaces: bool = True) -> Place:
    """Make ``wanted`` a folder, or a link to one, that a server which is not root can use.

    ``label`` names the folder elsewhere; ``namespaces=False`` behaves as if they were forbidden.
    """
    if os.geteuid() != 0:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Place(wanted)
    account = _account()
    if namespaces and not wanted.is_symlink() and _namespaces_permitted(account):
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Place(wanted, _namespace(account))
    return Place(_elsewhere(wanted, label, account), user=account.pw_name)


def remove(wanted: Path) -> None:
    """Remove what ``place`` made, wherever it is."""
    if wanted.is_symlink():
        target = wanted.readlink()
        if ELSEWHERE in target.parents:
            shutil.rmtree(target, ignore_errors=True)
        wanted.unlink()
    shutil.rmtree(wanted, ignore_errors=True)


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


def _elsewhere(wanted: Path, label: str, account: pwd.struct_passwd) -> Path:
    if wanted.is_symlink() and wanted.exists():
        return wanted.resolve()
    ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = ELSEWHERE / label
    if wanted.is_dir() and not wanted.is_symlink():
        # Data of a time when namespaces were permitted here.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(wanted, folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.unlink(missing_ok=True)
    wanted.symlink_to(folder)
    return folder
