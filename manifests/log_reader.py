"""Reading a custody log: its checkpoint, its entries, and proofs made from its tiles.

Nothing in the store is believed for lying there: hashes count when they lead to a root that the log signed.

Keys, below a prefix that ends in ``/``::

    checkpoint               the latest checkpoint; the one object that is replaced
    history/<size>           every checkpoint there was, never replaced; size in 12 digits
    intent/<size>            the batch that was appended to the log of that size (see custody_log)
    tile/...                 see manifests.tiles
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from manifests.checkpoint import Checkpoint, LogKey, open_checkpoint
from manifests.custody_event import CustodyEvent, parse_event
from manifests.findings import Code, Finding
from manifests.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    tree_root,
)
from manifests.proof import ProofError
from manifests.tiles import TILE_WIDTH, TileReader
from manifests.tlog_proof import LogProof, render_proof


class LogConflict(Exception):
    """A conditional write lost: somebody else was first, and nothing was changed."""


class LogStore(Protocol):
    """What a log needs of a store. Keys are those of the module, below the log's own prefix."""

    @property
    def conditional_writes(self) -> bool:
        """Whether ``put_once`` and ``replace`` tell racing writers apart."""
        ...

    def put_once(self, key: str, data: bytes) -> bool:
        """Create *key*: True; False when the very same bytes were there.

        Raises:
            LogConflict: Other bytes are there.
        """
        ...

    def get(self, key: str) -> bytes | None:
        """The bytes at *key*, or None."""
        ...

    def get_with_etag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes at *key* and the tag that ``replace`` wants, or None."""
        ...

    def replace(self, key: str, data: bytes, etag: str | None) -> str:
        """Swap *key* if it still has *etag* (None: if it is absent); returns the new tag.

        Raises:
            LogConflict: It has not.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that start with *prefix*, in bytewise order."""
        ...


class LogReader:
    """A log in a store, read by its key.

    Args:
        store: Where it lies.
        key: Its origin and public key.
    """

    def __init__(self, store: LogStore, key: LogKey) -> None:
        self.store = store
        self.key = key

    def head(self) -> Checkpoint:
        """The latest checkpoint, its signature verified; of size 0, with an empty note, for a new log.

        Raises:
            ProofError: ``log-checkpoint-malformed`` or ``log-checkpoint-signature-wrong``.
        """
        note = self.store.get("checkpoint")
        return self._empty() if note is None else open_checkpoint(note, self.key)

    def _empty(self) -> Checkpoint:
        return Checkpoint(self.key.origin, 0, EMPTY_ROOT, b"")

    def tiles(self, size: int) -> TileReader:
        """The tree as it was at *size*."""
        return TileReader(self.store.get, size)

    def prove(self, index: int, head: Checkpoint) -> bytes:
        """The proof file that entry *index* is under *head*.

        Raises:
            ProofError: ``log-damaged``: the tiles do not lead to the head's root.
        """
        if not 0 <= index < head.size:
            raise ProofError(
                Code.LOG_PROOF_WRONG, f"entry {index}", f"a number below {head.size}", str(index)
            )
        read = self.tiles(head.size)
        return render_proof(LogProof(index, tuple(self._path(read, index, head)), head.note))

    def _path(self, read: TileReader, index: int, head: Checkpoint) -> list[bytes]:
        """The inclusion proof of an entry, once it is seen to lead to the head's root."""
        path = inclusion_proof(read, index, head.size)
        if not is_included(read(0, index), index, head.size, path, head.root):
            subject = f"log {head.origin} at entry {index}"
            raise ProofError(Code.LOG_DAMAGED, subject, f"a path to {head.root.hex()}", "another")
        return path

    def check_tiles(self, read: TileReader, head: Checkpoint) -> None:
        """Check that the tiles lead to the head's root. Raises ``ProofError`` ``log-damaged``."""
        root = tree_root(read, head.size)
        if root != head.root:
            subject = f"log {head.origin} of size {head.size}"
            raise ProofError(Code.LOG_DAMAGED, subject, head.root.hex(), root.hex())

    def check_extends(self, seen: Checkpoint, head: Checkpoint) -> None:
        """Check that *head*'s log begins with all that *seen*'s held.

        Raises:
            ProofError: ``log-rolled-back``, ``log-forked``, or ``log-damaged`` without the tiles for a proof.
        """
        if head.size < seen.size:
            subject = f"log {head.origin}"
            raise ProofError(Code.LOG_ROLLED_BACK, subject, f"size {seen.size} or more", f"size {head.size}")
        proof = consistency_proof(self.tiles(head.size), seen.size, head.size)
        if not is_consistent(seen.size, seen.root, head.size, head.root, proof):
            raise ProofError(*_fork(seen, head))

    def audit(self, head: Checkpoint) -> list[Finding]:
        """Check *head* against every checkpoint of the history; returns what does not fit."""
        findings = []
        for key in self.store.list("history/"):
            try:
                old = open_checkpoint(self.store.get(key) or b"", self.key)
                # A writer that died left the history one step ahead of the latest checkpoint.
                self.check_extends(*sorted((old, head), key=_size))
            except ProofError as error:
                findings.append(error.finding)
                continue
            if key != history_key(old.size):
                findings.append(Finding(Code.LOG_DAMAGED, f"log {key}", key, history_key(old.size)))
        return findings

    def entries(self, head: Checkpoint, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Every entry from number *start* on, with its number; each bundle is checked against the head.

        Raises:
            ProofError: ``log-damaged``.
        """
        read = self.tiles(head.size)
        for index in range(start // TILE_WIDTH, -(-head.size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            # The path of one leaf holds hashes of all the others in its tile, so it vouches for the tile.
            self._path(read, first, head)
            for at, entry in enumerate(read.bundle(index), start=first):
                if at >= start:
                    yield at, entry

    def events(self, head: Checkpoint, capture_id: str = "") -> Iterator[tuple[int, CustodyEvent]]:
        """The events of one capture, or of all, in the order of the log. Raises as ``entries``."""
        for index, entry in self.entries(head):
            if capture_id.encode() not in entry:
                continue
            event = parse_event(entry)
            if not capture_id or event.capture_id == capture_id:
                yield index, event


def history_key(size: int) -> str:
    """Where the checkpoint of *size* is kept for ever."""
    return f"history/{size:012d}"


def intent_key(size: int) -> str:
    """Where the batch lies that is appended to the log of *size*."""
    return f"intent/{size:012d}"


def compare_checkpoints(one: Checkpoint, other: Checkpoint) -> Finding | None:
    """What two checkpoints of one log say without its tiles: the same size must have the same root."""
    if one.size != other.size or one.root == other.root:
        return None
    return Finding(*_fork(one, other))


def _fork(seen: Checkpoint, head: Checkpoint) -> tuple[Code, str, str, str]:
    subject = f"log {head.origin}"
    return (
        Code.LOG_FORKED,
        subject,
        f"size {seen.size} {seen.root.hex()}",
        f"size {head.size} {head.root.hex()}",
    )


def _size(checkpoint: Checkpoint) -> int:
    return checkpoint.size
