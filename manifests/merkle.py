"""RFC 6962 Merkle trees: hashes, and the making and checking of inclusion and consistency proofs.

Pure functions. A tree is seen through ``Reader``: a function that gives the hash of any complete, aligned
subtree, so that the caller decides where hashes lie (in memory, or in tiles: ``manifests.tiles``).

Source: RFC 6962 section 2.1 (hashes, proofs); RFC 9162 sections 2.1.3.2 and 2.1.4.2 (verification).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Reader = Callable[[int, int], bytes]
"""``read(level, index)``: the hash of the complete subtree of ``2**level`` leaves from ``index << level``."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of a zero byte and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of a one byte and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaves_reader(leaves: Sequence[bytes]) -> Reader:
    """Read a tree whose leaf hashes are all in memory."""

    def read(level: int, index: int) -> bytes:
        level_hashes = list(leaves[index << level : (index + 1) << level])
        while len(level_hashes) > 1:
            pairs = zip(level_hashes[::2], level_hashes[1::2], strict=True)
            level_hashes = [node_hash(left, right) for left, right in pairs]
        return level_hashes[0]

    return read


def subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees that make up the leaves from *start* to *end*, largest first.

    *start* must be a multiple of the largest: the ranges RFC 6962 splits a tree into are so.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def range_hash(read: Reader, start: int, end: int) -> bytes:
    """MTH(D[start:end]) for a range that RFC 6962 splits a tree into."""
    if start == end:
        return EMPTY_ROOT
    hashes = [read(level, index) for level, index in subtrees(start, end)]
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def tree_root(read: Reader, size: int) -> bytes:
    """The root of the tree of the first *size* leaves."""
    return range_hash(read, 0, size)


def inclusion_proof(read: Reader, index: int, size: int) -> list[bytes]:
    """PATH(index, D[0:size]): at most 64 hashes, from the leaf's sibling to the root's child.

    Requires ``0 <= index < size``.
    """
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(read, middle, end))
            end = middle
        else:
            path.append(range_hash(read, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(read: Reader, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[0:new]): empty for an empty or an equal tree. Requires ``0 <= old <= new``."""
    if old in {0, new}:
        return []
    start, end, path = 0, new, []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(read, middle, end))
            end = middle
        else:
            path.append(range_hash(read, start, middle))
            start = middle
    # The verifier knows the old root; a subtree that is not the whole old tree it must be told.
    if start != 0:
        path.append(range_hash(read, start, end))
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether *proof* shows that the leaf hash *leaf* is number *index* in the tree of *size* and *root*.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    sides = sibling_sides(index, size - 1, len(proof))
    got = leaf
    for sibling, is_left in zip(proof, sides or (), strict=False):
        got = node_hash(sibling, got) if is_left else node_hash(got, sibling)
    return sides is not None and got == root


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether *proof* shows that the tree of *new* leaves begins with the tree of *old* leaves.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 < old < new:
        same = old_root == new_root if old == new else old == 0 and old_root == EMPTY_ROOT
        return same and not proof
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    # The first hash is a whole subtree at the old tree's right edge: the climb starts above it.
    level = (old & -old).bit_length() - 1
    sides = sibling_sides((old - 1) >> level, (new - 1) >> level, len(path) - 1)
    if sides is None:
        return False
    got_old = got_new = path[0]
    for sibling, is_left in zip(path[1:], sides, strict=True):
        got_old = node_hash(sibling, got_old) if is_left else got_old
        got_new = node_hash(sibling, got_new) if is_left else node_hash(got_new, sibling)
    return got_old == old_root and got_new == new_root


def sibling_sides(node: int, last: int, count: int) -> list[bool] | None:
    """Whether each of *count* siblings, from node number *node* up, stands left of the way to the root.

    None when the way is not that long; *last* is the number of the last node on the first one's level.
    """
    sides = []
    for _ in range(count):
        if last == 0:
            return None
        is_left = node % 2 == 1 or node == last
        while is_left and node % 2 == 0 and node != 0:
            node, last = node >> 1, last >> 1
        sides.append(is_left)
        node, last = node >> 1, last >> 1
    return sides if last == 0 and count >= 0 else None


def _split(count: int) -> int:
    """The largest power of two smaller than *count* (RFC 6962 section 2.1)."""
    return 1 << (count - 1).bit_length() - 1
