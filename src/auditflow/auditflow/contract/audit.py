"""Audit logs, as the API shows them: Merkle trees of entries, with signed checkpoints.

The layout of tiles and checkpoints is that of https://c2sp.org/tlog-tiles. Hashes are SHA-256, in
base64.
"""

from typing import Annotated

from msgspec import Meta, Struct

Hashes = Annotated[tuple[bytes, ...], Meta(description="Hashes of 32 bytes, in base64.")]


class AuditLogSummary(Struct, frozen=True, kw_only=True):
    """An audit log."""

    name: Annotated[str, Meta(description="The name in paths.")]
    origin: Annotated[str, Meta(description="The first line of its checkpoints.")]
    size: Annotated[int, Meta(description="The number of entries that are signed.")]
    public_key: Annotated[
        str,
        Meta(
            description="The key that signs. Store it outside of this system when you see it for "
            "the first time: a key from the system that you verify proves nothing."
        ),
    ]


class AuditLogList(Struct, frozen=True):
    """All audit logs. Empty if this service has no key to sign with."""

    logs: tuple[AuditLogSummary, ...]


class InclusionProof(Struct, frozen=True, kw_only=True):
    """An entry, and the proof that a tree contains it (RFC 9162, section 2.1.3)."""

    number: Annotated[int, Meta(description="The number of the entry, from 1.")]
    size: Annotated[int, Meta(description="The number of entries of the tree.")]
    entry: Annotated[str, Meta(description="The entry. Its UTF-8 bytes are the leaf.")]
    leaf_hash: bytes
    proof: Hashes


class ConsistencyProof(Struct, frozen=True, kw_only=True):
    """The proof that a tree is the beginning of a larger one (RFC 9162, section 2.1.4)."""

    old_size: int
    size: int
    proof: Hashes
