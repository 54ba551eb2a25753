"""Which of two commits is older. By ancestry, not by time: clocks lie, and builds overtake."""

from enum import Enum

from gitops.errors import UnrelatedCommitsError
from gitops.git import Repository
from gitops.pin import Pin


class Order(Enum):
    """Where what is offered stands to what is pinned."""

    SAME = "same"
    NEWER = "newer"
    OLDER = "older"


def compare(repository: Repository, pinned: Pin, offered: Pin) -> Order:
    """Where the offered pin stands to the one that is there.

    Raises:
        UnrelatedCommitsError: the two commits are on different branches of history.
        UnknownRevisionError: one of them is not in this clone.
    """
    if not pinned.released:
        return Order.NEWER if offered.released else Order.SAME
    if not offered.released:
        return Order.OLDER
    if pinned.tag == offered.tag:
        # The same commit built again is on purpose: a base image was mended.
        return Order.SAME if pinned == offered else Order.NEWER
    if repository.is_ancestor(pinned.tag, offered.tag):
        return Order.NEWER
    if repository.is_ancestor(offered.tag, pinned.tag):
        return Order.OLDER
    raise UnrelatedCommitsError(offered.service, pinned.tag, offered.tag)
