"""The part of a custody log that goes with an export: its latest checkpoint, and the hashes that proofs need.

With them a verifier sees that all captures of the export are in one log, and that this log is the one of a
checkpoint that was published before. They are hashes of hashes: of other captures they tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from archiver.custody import PREFIX, StoreLog
from archiver.summary import capture_prefix
from manifests.checkpoint import Checkpoint, claimed_origin, parse_note
from manifests.merkle import consistency_proof
from manifests.proof import ProofError
from manifests.seal import LOG_PROOF
from manifests.tiles import TileReader
from manifests.tlog_proof import MAX_PROOF_BYTES, parse_proof
from storage.errors import ObjectMissing
from storage.interface import Store


def copy_log_part(store: Store, target: Store, capture_ids: Sequence[str]) -> None:
    """Copy what proves that the checkpoints under the captures' proofs belong to the latest one.

    Nothing is verified here, and a log that is damaged stays out: the verifier says what is missing. An
    export that was written to before keeps the newest checkpoint of its log.

    Args:
        store: Where the captures and the log lie.
        target: The export.
        capture_ids: The captures of the export.
    """
    log, copied = StoreLog(store), StoreLog(target)
    note = log.get("checkpoint")
    if note is None:
        return
    before = copied.get_with_etag("checkpoint")
    if before is not None and claimed_origin(before[0]) != claimed_origin(note):
        return
    read: dict[str, bytes] = {}

    def fetch(path: str) -> bytes | None:
        data = log.get(path)
        if data is not None:
            read[path] = data
        return data

    try:
        head = parse_note(note)
        for seen in _seen(store, capture_ids, before[0] if before else None):
            if seen.size <= head.size:
                consistency_proof(TileReader(fetch, head.size), seen.size, head.size)
    except ProofError:
        return
    for path, data in read.items():
        target.put(f"{PREFIX}{path}", data)
    target.replace(f"{PREFIX}checkpoint", note, etag=before[1] if before else None)


def _seen(store: Store, capture_ids: Sequence[str], before: bytes | None) -> list[Checkpoint]:
    notes = {before} if before else set()
    for capture_id in capture_ids:
        try:
            with store.open(f"{capture_prefix(capture_id)}seal/{LOG_PROOF}", length=MAX_PROOF_BYTES) as file:
                notes.add(parse_proof(file.read()).note)
        except ObjectMissing:
            continue
    return [parse_note(note) for note in sorted(notes)]
