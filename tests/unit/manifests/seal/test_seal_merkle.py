"""Merkle trees against the reference values of Certificate Transparency, and against pymerkle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from manifests.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    leaves_reader,
    tree_root,
)

# The eight entries and values that the CT reference implementation tests itself with.
ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
ENTRIES += [bytes.fromhex("5051525354555657"), bytes.fromhex("606162636465666768696a6b6c6d6e6f")]
READ = leaves_reader([leaf_hash(entry) for entry in ENTRIES])
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


def leaves_of(count):
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


BIG = leaves_of(300)
sizes = st.integers(1, 300)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_reference_roots(size):
    """The trees of 0 to 8 entries have the roots of the reference implementation."""
    assert tree_root(READ, size).hex() == ROOTS[size]


def test_proofs_are_the_reference_proofs():
    """Inclusion (0, 8) and (5, 8), consistency (1, 8) and (6, 8) are the reference proofs."""
    assert [each.hex() for each in inclusion_proof(READ, 0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in inclusion_proof(READ, 5, 8)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [each.hex() for each in consistency_proof(READ, 6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert consistency_proof(READ, 1, 8) == inclusion_proof(READ, 0, 8)


def test_roots_are_those_of_pymerkle():
    """Another library, written by others, has the same root at every size up to 130."""
    other = InmemoryTree(algorithm="sha256")
    for size in range(1, 131):
        other.append_entry((size - 1).to_bytes(4, "big"))
        assert tree_root(leaves_reader(BIG), size) == other.get_root(size)


@settings(max_examples=300)
@given(st.data())
def test_inclusion_proofs_prove_their_own_claim_only(data):
    """A proof shows one leaf at one place under one root: with anything else changed it shows nothing."""
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    read = leaves_reader(BIG)
    proof, root = inclusion_proof(read, index, size), tree_root(read, size)
    assert is_included(BIG[index], index, size, proof, root)
    assert not is_included(leaf_hash(b"other"), index, size, proof, root)
    assert not is_included(
        BIG[index], index, size, proof, tree_root(read, size + 1) if size < 300 else EMPTY_ROOT
    )
    assert not is_included(BIG[index], index, size, [*proof, root], root)
    for other in {*range(size)} - {index}:
        assert not is_included(BIG[index], other, size, proof, root)
    for at in range(len(proof)):
        assert not is_included(BIG[index], index, size, proof[:at] + proof[at + 1 :], root)
        changed = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not is_included(BIG[index], index, size, changed, root)


@settings(max_examples=300)
@given(st.data())
def test_consistency_proofs_prove_their_own_claim_only(data):
    """A proof shows one old tree in one new tree: a changed root, size or hash is refused."""
    new = data.draw(sizes)
    old = data.draw(st.integers(1, new))
    read = leaves_reader(BIG)
    old_root, new_root = tree_root(read, old), tree_root(read, new)
    proof = consistency_proof(read, old, new)
    assert is_consistent(old, old_root, new, new_root, proof)
    assert not is_consistent(old, bytes(32), new, new_root, proof)
    assert not is_consistent(old, old_root, new, bytes(32), proof)
    assert not is_consistent(old, old_root, new, new_root, [*proof, bytes(32)])
    for at in range(len(proof)):
        assert not is_consistent(old, old_root, new, new_root, proof[:at] + proof[at + 1 :])
        changed = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not is_consistent(old, old_root, new, new_root, changed)


@settings(max_examples=200)
@given(st.data())
def test_a_rewritten_tree_is_never_consistent(data):
    """No proof made from a tree in which an old leaf was changed shows that it extends the old one."""
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    victim = data.draw(st.integers(0, old - 1))
    forged = [*BIG[:victim], leaf_hash(b"forged"), *BIG[victim + 1 :]]
    read, honest = leaves_reader(forged), leaves_reader(BIG)
    proof = consistency_proof(read, old, new)
    assert not is_consistent(old, tree_root(honest, old), new, tree_root(read, new), proof)


def test_edges_are_refused():
    """An index outside the tree, a tree that shrank, a proof where none is due: all refused."""
    root = tree_root(READ, 8)
    proof = inclusion_proof(READ, 5, 8)
    leaf = leaf_hash(ENTRIES[5])
    assert not is_included(leaf, 8, 8, proof, root)
    assert not is_included(leaf, -1, 8, proof, root)
    assert not is_included(leaf, 0, 0, [], EMPTY_ROOT)
    assert is_consistent(0, EMPTY_ROOT, 8, root, [])
    assert not is_consistent(0, bytes(32), 8, root, [])
    assert not is_consistent(0, EMPTY_ROOT, 8, root, [root])
    assert not is_consistent(8, root, 7, tree_root(READ, 7), [])
    assert not is_consistent(8, root, 8, root, [root])
    assert not is_consistent(8, root, 8, bytes(32), [])
    assert not is_consistent(-1, root, 8, root, [])
    assert not is_consistent(6, tree_root(READ, 6), 8, root, [])
