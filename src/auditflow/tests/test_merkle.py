"""Merkle trees and checkpoints: published vectors, and properties."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.merkle import tree
from auditflow.merkle.checkpoint import Checkpoint, open_checkpoint
from auditflow.merkle.note import NoteError, Signer, Verifier, open_note

# The test vectors of Certificate Transparency (github.com/transparency-dev/merkle, testonly).
LEAVES = [
    tree.leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
N4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"

# The vectors of golang.org/x/mod/sumdb/note.
PRIVATE_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PUBLIC_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = TEXT + (
    "\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)

data_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert tree.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("size", "index", "proof"),
    [
        (8, 0, [N1, N23, N47]),
        (8, 5, [N4, N67, ROOTS[4]]),
        (3, 2, [ROOTS[2]]),
        (5, 1, [ROOTS[1], N23, N4]),
    ],
)
def test_published_inclusion_proofs(size: int, index: int, proof: list[str]) -> None:
    assert [h.hex() for h in tree.inclusion_proof(LEAVES[:size], index)] == proof


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [(1, 1, []), (1, 8, [N1, N23, N47]), (6, 8, [N45, N67, ROOTS[4]]), (2, 5, [N23, N4])],
)
def test_published_consistency_proofs(old: int, new: int, proof: list[str]) -> None:
    assert [h.hex() for h in tree.consistency_proof(LEAVES[:new], old)] == proof


def _is_included(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    try:
        tree.verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, expected_root=root)
    except tree.ProofError:
        return False
    return True


def _is_prefix(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]) -> bool:
    try:
        tree.verify_consistency(
            old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof
        )
    except tree.ProofError:
        return False
    return True


@given(data_lists, st.data())
def test_inclusion_proofs_fit_one_leaf_at_one_index(
    items: list[bytes], data: st.DataObject
) -> None:
    leaves = [tree.leaf_hash(item) for item in items]
    size, root = len(leaves), tree.root(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(leaves, index)
    assert _is_included(leaves[index], index, size, proof, root)
    assert not _is_included(tree.leaf_hash(b"another leaf"), index, size, proof, root)
    assert not _is_included(leaves[index], index, size, [*proof, root], root)
    assert not _is_included(leaves[index], size, size, proof, root)
    if proof:
        assert not _is_included(leaves[index], index, size, proof[:-1], root)


@given(data_lists, st.data())
def test_consistency_proofs_fit_only_a_prefix(items: list[bytes], data: st.DataObject) -> None:
    leaves = [tree.leaf_hash(item) for item in items]
    old, new, root = data.draw(st.integers(1, len(leaves))), len(leaves), tree.root(leaves)
    old_root, proof = tree.root(leaves[:old]), tree.consistency_proof(leaves, old)
    assert _is_prefix(old, old_root, new, root, proof)
    rewritten = [tree.leaf_hash(b"another leaf"), *leaves[1:old]]
    assert not _is_prefix(old, tree.root(rewritten), new, root, proof)
    assert not _is_prefix(old, old_root, new, tree.root(rewritten + leaves[old:]), proof)
    assert not _is_prefix(old, old_root, new, root, [*proof, root])
    if proof:
        assert not _is_prefix(old, old_root, new, root, proof[:-1])


def test_published_note_and_keys() -> None:
    signer, verifier = Signer.parse(PRIVATE_KEY), Verifier.parse(PUBLIC_KEY)
    assert signer.verifier == verifier
    assert str(verifier) == PUBLIC_KEY
    assert signer.sign(TEXT) == NOTE
    assert open_note(NOTE, verifier) == TEXT
    assert "seed" not in repr(signer)


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_a_changed_note_never_opens_with_another_text(position: int, character: str) -> None:
    changed = NOTE[:position] + character + NOTE[position + 1 :]
    with contextlib.suppress(NoteError):
        assert open_note(changed, Verifier.parse(PUBLIC_KEY)) == TEXT


def test_checkpoints_of_this_key_and_this_log_only() -> None:
    signer = Signer("example.com/log", bytes(32))
    checkpoint = Checkpoint("example.com/log", 8, tree.root(LEAVES))
    note = checkpoint.sign(signer)
    assert open_checkpoint(note, signer.verifier, origin="example.com/log") == checkpoint
    with pytest.raises(NoteError, match="is not of the log"):
        open_checkpoint(note, signer.verifier, origin="example.com/other")
    with pytest.raises(NoteError, match="no signature"):
        open_checkpoint(
            note, Signer("example.com/log", b"1" * 32).verifier, origin="example.com/log"
        )
    with pytest.raises(NoteError, match="invalid"):
        open_checkpoint(note.replace("\n8\n", "\n7\n"), signer.verifier, origin="example.com/log")


@pytest.mark.parametrize(
    "text", ["a\n", "a\n-1\nAA==\n", "a\n08\nAA==\n", "a\n1\nAA==\n", "a\n1\n!\n"]
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    signer = Signer("a", bytes(32))
    with pytest.raises(NoteError):
        open_checkpoint(signer.sign(text), signer.verifier, origin="a")


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 1, bytes(32)), ("a\n2", 1, bytes(32)), ("a", -1, bytes(32)), ("a", 1, b"")],
)
def test_invalid_checkpoints_are_not_signed(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(NoteError):
        Checkpoint(origin, size, root)


@pytest.mark.parametrize(("size", "text"), [(2, "too long"), (8, "too short")])
def test_a_proof_does_not_fit_another_size(size: int, text: str) -> None:
    proof, root = tree.inclusion_proof(LEAVES[:4], 0), tree.root(LEAVES[:4])
    with pytest.raises(tree.ProofError, match=text):
        tree.verify_inclusion(leaf=LEAVES[0], index=0, size=size, proof=proof, expected_root=root)
