"""Folders of the lab: builds, which are kept, and the state of one run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The checkout under test.
REPOSITORY = Path(__file__).resolve().parents[3]

#: What a person reads after a failure; git ignores it.
REPORTS = REPOSITORY / "reports" / "e2e"


def cache() -> Path:
    """The folder for what is slow to make: binaries, base images, the registry's blobs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "auditflow-e2e"


@dataclass(frozen=True)
class Run:
    """The folders of one cluster. Nothing in it is worth keeping once the cluster is down."""

    root: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def kubeconfigs(self) -> Path:
        """One kubeconfig for each component, and admin.conf for people."""
        return self.root / "kubeconfig"

    @property
    def admin(self) -> Path:
        """The kubeconfig of cluster-admin."""
        return self.kubeconfigs / "admin.conf"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.root / "log"

    @property
    def pids(self) -> Path:
        """One file for each process, so that a later run can end what a killed one left."""
        return self.root / "pid"

    def make(self) -> None:
        """Make the folders, readable by root alone: there are keys in them."""
        for folder in (self.root, self.pki, self.kubeconfigs, self.logs, self.pids):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
