"""Runs a service with the restrictions of its pod, for tests without a cluster.

The restrictions of ``apps/<service>/base/deployment.yaml``: user 65532, a read-only file system, an
empty folder /tmp, and secrets at /run/secrets/auditflow that only the user's group can read. A
service with ARCHIVE_FOLDER gets an empty volume.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from auditflow_local.processes import Command

USER: Final = 65532
SECRETS: Final = "/run/secrets/auditflow"
#: Where the volume of a service is mounted.
VOLUME: Final = "/run/volume"
#: Required programs, all of util-linux.
_PROGRAMS: Final = ("unshare", "mount", "setpriv")

# The folders of the program keep their paths, also below /tmp. Perhaps only root can enter them, so
# the user gets the capability to read everything. The tests check what it can write.
_SCRIPT: Final = """
user=$1 secrets=$2 kept=$3 volume=$4; shift 4
clear() {
  while read -r _ _ _ _ place _; do
    case "$place" in "$1" | "$1"/*) umount -l "$(printf %b "$place")" 2>&- || : ;; esac
  done < /proc/self/mountinfo
}
clear /run
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/secrets/auditflow
cp "$secrets"/* /run/secrets/auditflow
chown -R "0:$user" /run/secrets/auditflow
chmod 0440 /run/secrets/auditflow/*
number=0
echo "$kept" | while read -r folder; do
  number=$((number + 1)); mkdir "/run/$number"; mount --bind "$folder" "/run/$number"
done
clear /tmp
mount -t tmpfs -o mode=1777,size=64m tmpfs /tmp
if [ -n "$volume" ]; then
  mkdir "$volume"
  mount -t tmpfs -o "mode=770,gid=$user,size=256m" tmpfs "$volume"
fi
number=0
echo "$kept" | while read -r folder; do
  number=$((number + 1))
  case "$folder" in /tmp/*) mkdir -p "$folder"; mount --bind "/run/$number" "$folder" ;; esac
  umount "/run/$number"
done
while read -r _ _ _ _ place _; do
  case "$place" in
    /tmp | /run/volume | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
    *) mount -o remount,bind,ro "$(printf %b "$place")" ;;
  esac
done < /proc/self/mountinfo
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \\
  --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search \\
  --bounding-set -all,+dac_read_search -- "$@"
"""


_UNSHARE = ("unshare", "--mount", "--propagation", "private", "--")


def unsupported_reason() -> str | None:
    """Return why this machine does not support it. None if it does."""
    if os.geteuid() != 0:
        return "only root may change the user and what is mounted"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "mounts cannot be private here (a chroot?)"


def as_in_a_pod(command: Command) -> Command:
    """Return the command for the pod's user in the pod's file system."""
    program = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]}
    kept = "\n".join(str(folder.resolve()) for folder in sorted(program))
    secrets = command.env["SECRETS_DIR"]
    folder = {"ARCHIVE_FOLDER": VOLUME} if "ARCHIVE_FOLDER" in command.env else {}
    volume = VOLUME if folder else ""
    inside = ("sh", "-euc", _SCRIPT, "sh", str(USER), secrets, kept, volume, *command.argv)
    return replace(
        command,
        argv=(*_UNSHARE, *inside),
        env={**command.env, **folder, "SECRETS_DIR": SECRETS, "HOME": "/"},
        folder=Path("/"),
    )
