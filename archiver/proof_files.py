"""What a store holds beside a capture to prove it: its seal, and its events in the custody log."""

from __future__ import annotations

from archiver.custodian import log_origin, store_identity
from archiver.custody import StoreLog
from archiver.errors import ArchiverError
from archiver.summary import capture_prefix
from manifests.custody_event import CustodyEvent
from manifests.log_reader import LogReader
from manifests.proof import ProofError
from manifests.trust import Trust
from manifests.verifier import MAX_SEAL_FILE_BYTES, SEAL_PREFIX
from storage.errors import StoreError
from storage.interface import Store


def read_seal(store: Store, capture_id: str) -> dict[str, bytes]:
    """Return the files of a capture's seal by name, without ``seal/``; empty when there is none.

    Raises:
        StoreError: The store cannot be read.
    """
    prefix = f"{capture_prefix(capture_id)}{SEAL_PREFIX}"
    files = {}
    for info in store.list(prefix):
        with store.open(info.key, length=MAX_SEAL_FILE_BYTES) as file:
            files[info.key.removeprefix(prefix)] = file.read()
    return files


def custody_events(
    store: Store, trust: Trust | None, capture_id: str
) -> list[tuple[int, CustodyEvent]] | None:
    """Return a capture's events with their numbers, oldest first; None when no trusted log can be read."""
    try:
        origin = log_origin(store_identity(store))
        key = next((one for one in trust.logs if one.origin == origin), None) if trust else None
        if key is None:
            return None
        reader = LogReader(StoreLog(store), key)
        return list(reader.events(reader.head(), capture_id))
    except (ProofError, ArchiverError, StoreError):
        return None
