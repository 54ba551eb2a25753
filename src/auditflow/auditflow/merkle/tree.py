"""Merkle trees as in RFC 6962, section 2.1, with SHA-256.

All hashes have 32 bytes. Trees are given as the sequence of their leaf hashes. Proofs are verified
with the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from auditflow.errors import AuditFlowError

#: The root of the tree without leaves.
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class ProofError(AuditFlowError):
    """A proof does not show what it should show."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf. The prefix separates leaves from inner nodes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """A tree to which leaves are added. It stores one hash for each level."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # roots of complete subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        complete = self.size
        while complete & 1:
            leaf = node_hash(self._subtrees.pop(), leaf)
            complete >>= 1
        self._subtrees.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree of all leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        result = self._subtrees[-1]
        for subtree in reversed(self._subtrees[:-1]):
            result = node_hash(subtree, result)
        return result


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of the tree. Reads the leaf hashes once."""
    growing = GrowingTree()
    for leaf in leaf_hashes:
        growing.add(leaf)
    return growing.root()


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The proof that the leaf at ``index`` (from 0) is in the tree. Raises ValueError."""
    return [root(leaf_hashes[start:end]) for start, end in inclusion_path(index, len(leaf_hashes))]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the tree of the first ``old_size`` leaves is a prefix. Raises ValueError."""
    path = consistency_path(old_size, len(leaf_hashes))
    return [root(leaf_hashes[start:end]) for start, end in path]


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """The leaves (start, end) below each hash of an inclusion proof in a tree of ``size`` leaves.

    Raises ValueError.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of {size} leaves")
    start, end = 0, size
    path: list[tuple[int, int]] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_path(old_size: int, size: int) -> list[tuple[int, int]]:
    """The leaves (start, end) below each hash of a consistency proof.

    The trees have ``old_size`` and ``size`` leaves. Raises ValueError.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"old size {old_size} is not between 1 and {size}")
    start, end = 0, size
    path: list[tuple[int, int]] = []
    while old_size < end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start > 0:  # the verifier has the root of the old tree, but not of its last subtree
        path.append((start, end))
    return path[::-1]


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """Check that ``leaf`` (a leaf hash) has this index in a tree of ``size`` leaves.

    Raises ProofError.
    """
    if not 0 <= index < size:
        raise ProofError(f"index {index} is not in a tree of {size} leaves")
    result = leaf
    for sibling, is_left in _siblings(index, size - 1, proof):
        result = node_hash(sibling, result) if is_left else node_hash(result, sibling)
    if result != expected_root:
        raise ProofError("the inclusion proof leads to another root")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``old_size`` leaves is a prefix of that of ``new_size`` leaves.

    Raises ProofError.
    """
    if not 0 < old_size <= new_size:
        raise ProofError(f"old size {old_size} is not between 1 and {new_size}")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofError("trees of the same size have different roots or a proof")
        return
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofError("the consistency proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = new_result = hashes[0]
    for sibling, is_left in _siblings(node, last, hashes[1:]):
        if is_left:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
        else:
            new_result = node_hash(new_result, sibling)
    if old_result != old_root or new_result != new_root:
        raise ProofError("the consistency proof leads to other roots")


def _siblings(node: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of the proof, and whether it is a left sibling. Raises ProofError.

    ``node`` and ``last`` are the indices of the proven node and of the last node of its level.
    """
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        is_left = bool(node & 1) or node == last
        yield sibling, is_left
        while is_left and node and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")


def _split(size: int) -> int:
    """The largest power of two that is smaller than ``size`` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)
