"""Appending to a custody log by the intent protocol: several writers, one log, no lock.

Every append takes these steps; the numbers stand in the code:

1. Read the checkpoint: size n, root, tag.
2. Put the whole batch at ``intent/<n>``, once. This is the only thing that writers contend for.
3. Read ``intent/<n>``: whoever won, those bytes are what gets appended.
4. Compute the tiles and bundles of size n+k: a pure function of checkpoint n and the intent.
5. Put each, once. Other bytes at such a path mean tampering or a bug: stop.
6. Sign the checkpoint n+k. Every writer that gets here signs the same bytes.
7. Put it at ``history/<n+k>``, once; then replace ``checkpoint``, if it still has the tag of step 1.
8. If the intent was ours, our entries are numbers n to n+k-1. Otherwise begin again with our batch.
9. Before an own batch, an intent that lies at the current size is finished (steps 4 to 7).
10. An intent is never deleted: it shows a writer that lost an answer whether its batch went in.

A writer may die between any two steps: what it left is finished by the next. An intent is signed by nobody
until step 6, so a helper takes only entries that are custody events.

Where a store does not tell racing writers apart, step 2 decides nothing; such a log is opened only by whoever
declares to be its sole writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from manifests.checkpoint import Checkpoint, LogKey, open_checkpoint, sign_checkpoint
from manifests.custody_event import parse_event
from manifests.errors import ManifestError
from manifests.findings import Code
from manifests.keys import Signer
from manifests.log_reader import LogConflict, LogReader, LogStore, history_key, intent_key
from manifests.merkle import tree_root
from manifests.proof import ProofError
from manifests.tiles import TileReader, grow, join_entries, split_entries

MAX_BATCH_ENTRIES = 4096
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_ATTEMPTS = 1000  # each lost race is another writer's success; this many in a row is no race


class LogUnusable(ManifestError):
    """The log cannot be appended to."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a batch went.

    Args:
        first_index: Number of its first entry; the others follow.
        head: A checkpoint that covers it.
    """

    first_index: int
    head: Checkpoint


class Memory(Protocol):
    """Keeps the newest checkpoint that was seen, outside the store."""

    def recall(self, key: LogKey) -> Checkpoint | None:
        """That of a log, or None."""
        ...

    def remember(self, checkpoint: Checkpoint) -> None:
        """Keep a newer one."""
        ...


class CustodyLog(LogReader):
    """One writer of a log.

    Args:
        store: Where the log lies.
        origin: The log's name.
        signer: Holds the log's key; all writers of a log hold the same.
        sole_writer: Declares that nobody else appends; needed where the store cannot tell writers apart.
        memory: Of this writer; a log that is not what it remembers is not signed any more. None for none.

    Raises:
        LogUnusable: The store cannot, and *sole_writer* was not declared.
    """

    def __init__(
        self,
        store: LogStore,
        origin: str,
        signer: Signer,
        *,
        sole_writer: bool = False,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(store, LogKey(origin, signer.public_key))
        self._signer = signer
        self._memory = memory
        self._seen = (memory.recall(self.key) if memory else None) or self._empty()
        if not store.conditional_writes and not sole_writer:
            raise LogUnusable(
                f"custody log {origin}: store: expected conditional writes, got none",
                code="E493",
                hint="let one process alone append, and declare it as the sole writer",
            )

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Append *entries* (see ``custody_event.encode_event``) as one batch, in their order.

        Raises:
            LogUnusable: The batch is empty or too large, or races were lost too often.
            ProofError: The log is damaged, was rolled back, or holds an intent that is none.
        """
        batch = self._check_batch(entries)
        for _ in range(MAX_ATTEMPTS):
            head, etag = self._settle()
            if self._claim(head.size, batch):  # 2, 3
                self._finish(head, etag, list(entries))
                return Appended(head.size, self.settle())  # 8
        raise LogUnusable(
            f"custody log {self.key.origin}: append: expected a turn within {MAX_ATTEMPTS} tries, got none",
            code="E494",
            hint="try again later",
        )

    def settle(self) -> Checkpoint:
        """Finish what a writer that died had begun; the checkpoint after that. Raises as ``append``."""
        return self._settle()[0]

    def find(self, entries: Sequence[bytes]) -> int | None:
        """The size of the log that the batch of exactly *entries* was appended to; None when it was not.

        For a writer that does not know whether its append went through (step 10).
        """
        batch = join_entries(entries)
        head = self.settle()
        for key in self.store.list("intent/"):
            size = int(key.removeprefix("intent/"))
            if size < head.size and self.store.get(key) == batch:
                return size
        return None

    def _check_batch(self, entries: Sequence[bytes]) -> bytes:
        for entry in entries:
            parse_event(entry)
        batch = join_entries(entries)
        if not 0 < len(entries) <= MAX_BATCH_ENTRIES or len(batch) > MAX_BATCH_BYTES:
            limits = f"1 to {MAX_BATCH_ENTRIES} entries, at most {MAX_BATCH_BYTES} bytes"
            raise LogUnusable(
                f"custody log {self.key.origin}: batch: expected {limits}, "
                f"got {len(entries)} entries, {len(batch)} bytes",
                code="E495",
                hint="append in smaller batches",
            )
        return batch

    def _settle(self) -> tuple[Checkpoint, str | None]:
        """Steps 1 and 9: read the checkpoint, and finish whatever a writer began on top of it."""
        for _ in range(MAX_ATTEMPTS):
            found = self.store.get_with_etag("checkpoint")
            head, etag = (open_checkpoint(found[0], self.key), found[1]) if found else (self._empty(), None)
            if head != self._seen:
                self.check_extends(self._seen, head)
                self._seen = head
                if self._memory:
                    self._memory.remember(head)
            intent = self.store.get(intent_key(head.size))
            if intent is None:
                return head, etag
            self._finish(head, etag, self._read_intent(head.size, intent))
        raise LogUnusable(
            f"custody log {self.key.origin}: state: expected an end of the intents, got more of them",
            code="E494",
            hint="try again later",
        )

    def _claim(self, size: int, batch: bytes) -> bool:
        """Steps 2 and 3. Every entry has a random id, so equal bytes are our own of an earlier try."""
        try:
            self.store.put_once(intent_key(size), batch)
        except LogConflict:
            return False
        return True

    def _read_intent(self, size: int, intent: bytes) -> list[bytes]:
        subject = f"log {intent_key(size)}"
        try:
            entries = split_entries(intent[: MAX_BATCH_BYTES + 1])
        except ValueError as error:
            raise ProofError(Code.LOG_DAMAGED, subject, "a batch", str(error)) from error
        if not 0 < len(entries) <= MAX_BATCH_ENTRIES or len(intent) > MAX_BATCH_BYTES:
            raise ProofError(Code.LOG_DAMAGED, subject, "a batch", f"{len(entries)} entries")
        for entry in entries:
            parse_event(entry)
        return entries

    def _finish(self, head: Checkpoint, etag: str | None, entries: Sequence[bytes]) -> None:
        """Steps 4 to 7."""
        old = self.tiles(head.size)
        self.check_tiles(old, head)
        made = grow(old, head.size, entries)  # 4
        for path, data in made.items():
            self._put(path, data)  # 5
        size = head.size + len(entries)
        new = TileReader(lambda path: made.get(path) or self.store.get(path), size)
        checkpoint = sign_checkpoint(self.key.origin, size, tree_root(new, size), self._signer)  # 6
        self._put(history_key(size), checkpoint.note)  # 7
        try:
            self.store.replace("checkpoint", checkpoint.note, etag)
        except LogConflict:
            return  # another writer finished the same; the next read of the checkpoint shows how far it is

    def _put(self, key: str, data: bytes) -> None:
        try:
            self.store.put_once(key, data)
        except LogConflict as error:
            raise ProofError(
                Code.LOG_DAMAGED, f"log {key}", "what the entries give", "other bytes"
            ) from error
