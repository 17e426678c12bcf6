"""A Merkle tree as C2SP static tiles: where they lie, how to read hashes from them, how they grow.

A tile holds 256 hashes of one of the levels 0, 8, 16, ... of the tree; the levels between are computed.
The last tile of a level is partial and has its width in its path, so that no path's bytes ever change.
The entries lie beside the level 0 tiles in bundles: a big-endian length of 2 bytes, then the entry.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from manifests.findings import Code
from manifests.merkle import HASH_BYTES, leaf_hash, leaves_reader
from manifests.proof import ProofError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_BYTES = 64 * 1024 - 1
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
MAX_CACHED_TILES = 64

Fetch = Callable[[str], bytes | None]
"""Gives the bytes at a path of this module, or None when there is nothing."""


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of tile *index* of tile level *level*, for example ``tile/0/x001/067.p/8``."""
    return f"tile/{level}/{_numbered(index, width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of the entries of the level 0 tile *index*, for example ``tile/entries/000.p/8``."""
    return f"tile/entries/{_numbered(index, width)}"


def _numbered(index: int, width: int) -> str:
    digits = f"{index:0{-(-len(str(index)) // 3) * 3}d}"
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return name if width == TILE_WIDTH else f"{name}.p/{width}"


def width_at(size: int, level: int, index: int) -> int:
    """How many hashes tile *index* of tile level *level* has in a tree of *size* leaves; 0 when none."""
    hashes = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


class TileReader:
    """Reads the hashes of a tree of *size* leaves from its tiles; a ``manifests.merkle.Reader``.

    Nothing it reads is trusted: only a root that fits a signed checkpoint shows that the tiles are right.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._cache: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises ``ProofError`` ``log-damaged`` without its tile."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile = self.tile(tile_level, first // TILE_WIDTH)
        at = first % TILE_WIDTH * HASH_BYTES
        part = tile[at : at + (HASH_BYTES << height)]
        return part if height == 0 else leaves_reader(split_hashes(part))(height, 0)

    def tile(self, level: int, index: int) -> bytes:
        """The bytes of a tile as it was when the tree had *size* leaves."""
        if (level, index) not in self._cache:
            if len(self._cache) >= MAX_CACHED_TILES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[level, index] = self._load(level, index)
        return self._cache[level, index]

    def _load(self, level: int, index: int) -> bytes:
        width = width_at(self._size, level, index)
        data = self._fetch(tile_path(level, index, width))
        if data is None and width < TILE_WIDTH:
            # Once a tile is full, its partial forms may be deleted.
            full = self._fetch(tile_path(level, index))
            data = full[: width * HASH_BYTES] if full else None
        if data is None or len(data) != width * HASH_BYTES:
            subject = f"log {tile_path(level, index, width)}"
            got = "nothing" if data is None else f"{len(data)} bytes"
            raise ProofError(Code.LOG_DAMAGED, subject, f"{width * HASH_BYTES} bytes", got)
        return data

    def bundle(self, index: int) -> list[bytes]:
        """The entries of bundle *index*, each checked against its hash in the level 0 tile."""
        width = width_at(self._size, 0, index)
        data = self._fetch(bundle_path(index, width))
        if data is None and width < TILE_WIDTH:
            data = self._fetch(bundle_path(index))
        try:
            entries = split_entries(data or b"")[:width]
        except ValueError as error:
            raise ProofError(
                Code.LOG_DAMAGED, f"log {bundle_path(index, width)}", "entries", str(error)
            ) from error
        if b"".join(leaf_hash(entry) for entry in entries) != self.tile(0, index):
            subject = f"log {bundle_path(index, width)}"
            raise ProofError(Code.LOG_DAMAGED, subject, "the entries of its tile", "others")
        return entries


def grow(old: TileReader, size: int, entries: Sequence[bytes]) -> dict[str, bytes]:
    """The tiles and bundles that a tree of *size* leaves gets when *entries* are appended.

    A pure function of the tree and the entries: every writer that appends the same makes the same bytes.
    """
    made = _grown_bundles(old, size, entries)
    level, hashes = 0, [leaf_hash(entry) for entry in entries]
    while hashes:
        first, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
        row = (split_hashes(old.tile(level, first)) if width else []) + hashes
        hashes = []
        for index, tile in enumerate(_chunks(row), start=first):
            made[tile_path(level, index, len(tile))] = b"".join(tile)
            if len(tile) == TILE_WIDTH:
                hashes.append(leaves_reader(tile)(TILE_HEIGHT, 0))
        level += 1
    return made


def _grown_bundles(old: TileReader, size: int, entries: Sequence[bytes]) -> dict[str, bytes]:
    first, width = divmod(size, TILE_WIDTH)
    row = [*(old.bundle(first) if width else ()), *entries]
    return {
        bundle_path(index, len(bundle)): join_entries(bundle)
        for index, bundle in enumerate(_chunks(row), start=first)
    }


def _chunks(row: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(row), TILE_WIDTH):
        yield row[at : at + TILE_WIDTH]


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def join_entries(entries: Iterable[bytes]) -> bytes:
    """The bytes of a bundle. Every entry has at most ``MAX_ENTRY_BYTES``."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def split_entries(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ``ValueError`` when it ends within one, or is not a bundle's size."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise ValueError(f"more than {MAX_BUNDLE_BYTES} bytes")
    entries, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            raise ValueError(f"an entry ends {end - len(data)} bytes beyond the bundle")
        entries.append(data[at + 2 : end])
        at = end
    return entries
