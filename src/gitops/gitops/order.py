"""Compare the age of two commits by ancestry, because clocks and build times are not reliable."""

from enum import Enum

from gitops.errors import UnrelatedCommitsError
from gitops.git import Repository
from gitops.pin import Pin


class Order(Enum):
    """The age of the offered commit relative to the pinned commit."""

    SAME = "same"
    NEWER = "newer"
    OLDER = "older"


def compare(repository: Repository, pinned: Pin, offered: Pin) -> Order:
    """The age of the offered pin relative to the existing pin.

    Raises:
        UnrelatedCommitsError: neither commit is an ancestor of the other.
        UnknownRevisionError: one of the commits is not in this clone.
    """
    if not pinned.released:
        return Order.NEWER if offered.released else Order.SAME
    if not offered.released:
        return Order.OLDER
    if pinned.tag == offered.tag:
        # A second build of the same commit is intended: it contains a fixed base image.
        return Order.SAME if pinned == offered else Order.NEWER
    if repository.is_ancestor(pinned.tag, offered.tag):
        return Order.NEWER
    if repository.is_ancestor(offered.tag, pinned.tag):
        return Order.OLDER
    raise UnrelatedCommitsError(offered.service, pinned.tag, offered.tag)
