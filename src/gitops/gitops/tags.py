"""The tags of an image, from the commit and the branch it was built from. Pure."""

from collections.abc import Mapping
from typing import Final

from gitops.errors import GitOpsError
from gitops.pin import COMMIT

#: Tags that move, by branch. What an environment runs is pinned by digest and reads none of them.
MOVING: Final[Mapping[str, tuple[str, ...]]] = {
    "main": ("latest",),
    "dev": ("dev", "dev-snapshot"),
}


def of(commit: str, branch: str) -> tuple[str, ...]:
    """The commit always, and what its branch adds.

    Raises:
        GitOpsError: ``commit`` is not a whole commit id.
    """
    if not COMMIT.fullmatch(commit):
        raise GitOpsError(f"{commit!r} is no whole commit id (40 hex digits)")
    return (commit, *MOVING.get(branch, ()))
