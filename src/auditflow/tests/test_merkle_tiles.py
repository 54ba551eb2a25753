"""Tiles and logs: the same roots and proofs as from the list of all leaves."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.merkle import tiles, tree
from auditflow.merkle.checkpoint import Checkpoint, open_checkpoint
from auditflow.merkle.log import Log, LogCorrupted
from auditflow.merkle.note import Signer
from auditflow.merkle.tiles import TileId
from auditflow.merkle.tree import ProofError

SIGNER = Signer("test", bytes(32))
LEAVES = [tree.leaf_hash(str(number).encode()) for number in range(70_000)]


class Memory:
    """A store in memory."""

    def __init__(self) -> None:
        self.tiles: dict[TileId, bytes] = {}
        self.notes: list[str] = []

    def tile(self, tile: TileId) -> bytes:
        return self.tiles.get(tile, b"")

    def newest_note(self) -> str | None:
        return self.notes[-1] if self.notes else None

    def save(self, changed: Mapping[TileId, bytes], checkpoint: Checkpoint, note: str) -> None:
        del checkpoint
        self.tiles.update(changed)
        self.notes.append(note)


@pytest.fixture(scope="module")
def stored() -> Memory:
    store = Memory()
    for start, end in ((0, 255), (255, 256), (256, 700), (700, 66_000), (66_000, 70_000)):
        store.tiles.update(tiles.append(start, LEAVES[start:end], store.tile))
    return store


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 512, 65_535, 65_536, 65_537, 69_999])
def test_roots_at_the_borders_of_tiles(stored: Memory, size: int) -> None:
    assert tiles.root(size, stored.tile) == tree.root(LEAVES[:size])


@given(st.data())
def test_proofs_from_tiles_are_valid(stored: Memory, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    old_size = data.draw(st.integers(1, size))
    root = tiles.root(size, stored.tile)

    inclusion = tiles.inclusion_proof(index, size, stored.tile)
    consistency = tiles.consistency_proof(old_size, size, stored.tile)

    tree.verify_inclusion(
        leaf=LEAVES[index], index=index, size=size, proof=inclusion, expected_root=root
    )
    tree.verify_consistency(
        old_size=old_size, old_root=tiles.root(old_size, stored.tile),
        new_size=size, new_root=root, proof=consistency,
    )  # fmt: skip


def test_widths(stored: Memory) -> None:
    for tile, hashes in stored.tiles.items():
        assert len(hashes) == 32 * tiles.width_in(len(LEAVES), tile)
    assert tiles.width_in(70_000, TileId(0, 300)) == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("0/000", (0, 0, 256)),
        ("2/x001/x234/067", (2, 1_234_067, 256)),
        ("entries/x001/067.p/8", (None, 1067, 8)),
        ("63/255.p/255", (63, 255, 255)),
    ],
)
def test_paths(path: str, expected: tuple[int | None, int, int]) -> None:
    assert tiles.parse_path(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "", "0/0", "0/001/002", "0/x000/001", "64/000", "00/000", "0/000.p/0", "0/000.p/256",
        "0/000.p/01", "entries/000/", "0/" + "x999/" * 6 + "999", "0/١٢٣", "data/000",
    ],
)  # fmt: skip
def test_invalid_paths(path: str) -> None:
    assert tiles.parse_path(path) is None


@given(st.integers(0, 10**15 - 1))
def test_each_index_has_one_path(index: int) -> None:
    parsed = tiles.parse_path(f"0/{tiles.path_of(index)}")
    assert parsed is not None
    assert parsed.number == index


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles(entries: list[bytes]) -> None:
    data = tiles.bundle(entries)
    assert tiles.unbundle(data) == entries
    if data:
        with pytest.raises(ProofError):
            tiles.unbundle(data + b"\x00")


def test_an_entry_that_is_too_long_is_refused() -> None:
    assert len(tiles.bundle([bytes(65_535)])) == 65_537
    with pytest.raises(ValueError, match="65535"):
        tiles.bundle([bytes(65_536)])


def test_a_log_signs_each_state() -> None:
    store = Memory()
    log = Log(store, SIGNER, origin="test/log")

    assert log.append([]) is None
    log.append([b"a", b"b"])
    log.append([b"c"])

    checkpoints = [
        open_checkpoint(note, SIGNER.verifier, origin="test/log") for note in store.notes
    ]
    leaves = [tree.leaf_hash(data) for data in (b"a", b"b", b"c")]
    assert [(it.size, it.root) for it in checkpoints] == [
        (2, tree.root(leaves[:2])),
        (3, tree.root(leaves)),
    ]
    assert log.append([]) == checkpoints[1]


def test_hashes_of_an_append_without_a_checkpoint_are_replaced() -> None:
    store = Memory()
    log = Log(store, SIGNER, origin="test/log")
    log.append([b"a"])
    store.tiles[TileId(0, 0)] += bytes(32)  # from an append that was not completed

    log.append([b"b"])

    assert store.tiles[TileId(0, 0)] == tree.leaf_hash(b"a") + tree.leaf_hash(b"b")


def test_a_log_that_contradicts_its_checkpoint_is_not_signed() -> None:
    store = Memory()
    log = Log(store, SIGNER, origin="test/log")
    log.append([b"a", b"b"])
    for tile in (bytes(64), store.tiles[TileId(0, 0)][:32]):
        store.tiles[TileId(0, 0)] = tile
        with pytest.raises(LogCorrupted):
            log.append([b"c"])
    assert len(store.notes) == 1


def test_a_checkpoint_of_another_key_or_log_is_refused() -> None:
    store = Memory()
    Log(store, SIGNER, origin="test/log").append([b"a"])
    for other in (
        Log(store, SIGNER, origin="test/other"),
        Log(store, Signer("test", b"1" * 32), origin="test/log"),
    ):
        with pytest.raises(LogCorrupted, match="newest checkpoint"):
            other.append([b"b"])
