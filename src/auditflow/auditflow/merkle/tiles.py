"""Tiles as in https://c2sp.org/tlog-tiles: the hashes of a tree in pieces of 256 hashes.

A tile is the concatenation of up to 256 hashes of 32 bytes. The tiles of level 0 contain the leaf
hashes. Each hash of a tile of level n + 1 is the root of one full tile of level n.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from auditflow.merkle import tree

#: Hashes in a full tile, and entries in a full bundle of entries.
WIDTH: Final = 256
HASH_BYTES: Final = 32
#: Largest entry of a log, in bytes: a bundle stores its length in two bytes.
MAX_ENTRY_BYTES: Final = 0xFFFF

_BITS: Final = 8
_PATH: Final = re.compile(
    r"(?P<kind>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


class TileId(NamedTuple):
    """The position of a tile."""

    level: int
    number: int


#: Reads the hashes of a tile that are stored, which may be more than the tree contains.
ReadTile = Callable[[TileId], bytes]


class TilePath(NamedTuple):
    """A requested tile. ``level`` None means a bundle of entries; ``width`` is 1 to 256."""

    level: int | None
    number: int
    width: int


def parse_path(path: str) -> TilePath | None:
    """Read the path after ``tile/``, for example ``0/x001/067.p/8``, or None if it is invalid."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    digits = found["index"].replace("x", "").replace("/", "")
    index, width = int(digits), int(found["width"] or WIDTH)
    if (found["width"] and width >= WIDTH) or path_of(index) != found["index"]:
        return None
    return TilePath(None if found["kind"] == "entries" else int(found["kind"]), index, width)


def path_of(index: int) -> str:
    """The index of a tile in a path: groups of three digits, for example ``x001/067``."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def width_in(size: int, tile: TileId) -> int:
    """The number of hashes that a tile has in the tree of the first ``size`` leaves."""
    return max(0, min(WIDTH, (size >> (_BITS * tile.level)) - tile.number * WIDTH))


def bundle(entries: Iterable[bytes]) -> bytes:
    """The entries as a bundle: each one with its length in two bytes before it.

    Raises:
        ValueError: an entry is too long.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of a log has at most {MAX_ENTRY_BYTES} bytes")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def unbundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ProofError."""
    entries, offset = [], 0
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + 2], "big")
        entry = data[offset + 2 : offset + 2 + length]
        if len(data) < offset + 2 or len(entry) != length:
            raise tree.ProofError("the bundle of entries is truncated")
        entries.append(entry)
        offset += 2 + length
    return entries


def root(size: int, read: ReadTile) -> bytes:
    """The root of the tree of the first ``size`` leaves. Raises ProofError if a tile is missing."""
    return _subtree(read, 0, size) if size else tree.EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadTile) -> list[bytes]:
    """The proof that the leaf at ``index`` is in the tree of the first ``size`` leaves.

    Raises ProofError and ValueError.
    """
    return [_subtree(read, start, end) for start, end in tree.inclusion_path(index, size)]


def consistency_proof(old_size: int, size: int, read: ReadTile) -> list[bytes]:
    """The proof that the tree of ``old_size`` leaves is a prefix of the tree of ``size`` leaves.

    Raises ProofError and ValueError.
    """
    return [_subtree(read, start, end) for start, end in tree.consistency_path(old_size, size)]


def append(size: int, leaf_hashes: Iterable[bytes], read: ReadTile) -> Mapping[TileId, bytes]:
    """The tiles that change when these leaves follow the first ``size`` leaves.

    Hashes that are stored behind the first ``size`` leaves are replaced. Raises ProofError if a
    tile is missing.
    """
    changed: dict[TileId, bytearray] = {}

    def add(level: int, position: int, digest: bytes) -> None:
        index, offset = divmod(position, WIDTH)
        tile = TileId(level, index)
        if tile not in changed:
            changed[tile] = bytearray(_hashes(read, tile, offset))
        changed[tile] += digest
        if offset == WIDTH - 1:
            add(level + 1, index, tree.root(_split(changed[tile])))

    for position, leaf in enumerate(leaf_hashes, start=size):
        add(0, position, leaf)
    return {tile: bytes(hashes) for tile, hashes in changed.items()}


def _subtree(read: ReadTile, start: int, end: int) -> bytes:
    """The root of the leaves from ``start``, a multiple of the next power of two of the width."""
    width = end - start
    left = 1 << (width.bit_length() - 1)
    level, rest = divmod(left.bit_length() - 1, _BITS)
    index, offset = divmod(start >> (_BITS * level), WIDTH)
    count = 1 << rest
    hashes = _hashes(read, TileId(level, index), offset + count)
    complete = tree.root(_split(hashes[offset * HASH_BYTES :]))
    if left == width:
        return complete
    return tree.node_hash(complete, _subtree(read, start + left, end))


def _hashes(read: ReadTile, tile: TileId, count: int) -> bytes:
    """The first ``count`` hashes of a tile."""
    hashes = read(tile)[: count * HASH_BYTES] if count else b""
    if len(hashes) != count * HASH_BYTES:
        raise tree.ProofError(f"tile {tile.level}/{tile.number} has fewer than {count} hashes")
    return hashes


def _split(hashes: bytes | bytearray) -> Iterator[bytes]:
    for offset in range(0, len(hashes), HASH_BYTES):
        yield bytes(hashes[offset : offset + HASH_BYTES])
