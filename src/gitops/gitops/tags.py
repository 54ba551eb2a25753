"""The tags of an image, computed from its commit and branch. Pure."""

from collections.abc import Mapping
from typing import Final

from gitops.errors import GitOpsError
from gitops.pin import COMMIT

#: Moving tags by branch. Environments pin digests and never use these tags.
MOVING: Final[Mapping[str, tuple[str, ...]]] = {
    "main": ("latest",),
    "dev": ("dev", "dev-snapshot"),
}


def of(commit: str, branch: str) -> tuple[str, ...]:
    """The full commit id, and the moving tags of the branch.

    Raises:
        GitOpsError: ``commit`` is not a full commit id.
    """
    if not COMMIT.fullmatch(commit):
        raise GitOpsError(f"{commit!r} is not a full commit id (40 hex digits)")
    return (commit, *MOVING.get(branch, ()))
