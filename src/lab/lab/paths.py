"""Folders of the lab: builds, which are kept, and the state of one run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The checkout under test.
REPOSITORY = Path(__file__).resolve().parents[3]

#: The folder of reports about failures. git ignores it.
REPORTS = REPOSITORY / "reports" / "e2e"


def cache() -> Path:
    """Return the folder of programs, base images and blobs, which later runs use."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "auditflow-e2e"


@dataclass(frozen=True)
class Run:
    """The folders of a cluster. They are not needed after the cluster has stopped."""

    root: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def kubeconfigs(self) -> Path:
        """A kubeconfig for each component, and admin.conf for people."""
        return self.root / "kubeconfig"

    @property
    def admin(self) -> Path:
        """The kubeconfig of cluster-admin."""
        return self.kubeconfigs / "admin.conf"

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.root / "log"

    @property
    def pids(self) -> Path:
        """A file for each process, so that a later run can stop the processes of a killed run."""
        return self.root / "pid"

    def make(self) -> None:
        """Create the folders. Only root can read them, because they contain keys."""
        for folder in (self.root, self.pki, self.kubeconfigs, self.logs, self.pids):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
