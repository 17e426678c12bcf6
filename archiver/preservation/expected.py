"""What a store should hold of one capture, by what fixes it: its record, its receipts, its seal.

- ``record.json``: the digest in a storage receipt, else in an incident's link.
- artefacts: the digests in the record.
- the incidents' links: their bytes follow from the record.
- the seal: its own log entry lists the digests of every file before it; that entry, its proof and renewals
  have none here, and are judged by ``archiver verify``.

Where one store's record is not what the digest says, another store's is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from archiver.preservation.receipts import recorded_digest, was_deleted
from archiver.storing import link_of
from archiver.summary import capture_prefix
from manifests.canonical import MAX_JSON_BYTES
from manifests.codec import decode
from manifests.custody_event import parse_event
from manifests.digests import digest_bytes
from manifests.errors import MalformedRecord
from manifests.proof import ProofError
from manifests.record import EvidenceRecord
from manifests.seal import LOG_ENTRY
from manifests.verifier import MAX_SEAL_FILE_BYTES
from storage.audit import Audited, Condition, Expected
from storage.errors import StoreError, StoreUnavailable
from storage.interface import Store

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Expectation:
    """What should be there of one capture.

    Args:
        capture_id: Its ID.
        objects: Below ``captures/<capture_id>/``, in order of keys; empty when nothing fixes them.
        links: Below ``incidents/``.
        finding: What is wrong with its record in every store, or None.
    """

    capture_id: str
    objects: list[Expected] = field(default_factory=list)
    links: list[Expected] = field(default_factory=list)
    finding: Audited | None = None


def expectation_of(stores: list[Store], capture_id: str) -> Expectation:
    """Work out what stores should hold of a capture; no error of a store ends that.

    Args:
        stores: The one in question first; others that turn out to be out of reach are taken off the list.
        capture_id: The capture.
    """
    key = f"{capture_prefix(capture_id)}record.json"
    wanted = _recorded(stores, capture_id)
    data = _first_good(stores, key, wanted)
    if data is None and any(_answers(stores, lambda store: was_deleted(store, capture_id))):
        return Expectation(capture_id)
    if data is None and wanted:
        return Expectation(capture_id, [Expected(key, sha256=wanted)])
    if data is None:
        unfinished = "expected a record, got none: its making was broken off, or the record was taken away"
        return Expectation(capture_id, finding=Audited(key, Condition.UNACKNOWLEDGED, unfinished))
    try:
        record = decode(data)
    except MalformedRecord as error:
        return Expectation(capture_id, finding=Audited(key, Condition.DAMAGED, str(error)))
    if record.capture_id != capture_id:
        detail = f"expected its own record, got that of {record.capture_id}"
        return Expectation(capture_id, finding=Audited(key, Condition.DAMAGED, detail))
    objects = [*_artifacts(record, data), *_seal(stores, capture_id)]
    digest = digest_bytes(data).sha256
    links = [
        _of_bytes(f"incidents/{one}/{capture_id}.json", link_of(record, one, digest))
        for one in record.incident_ids
    ]
    return Expectation(capture_id, sorted(objects, key=lambda one: one.key), links)


def _recorded(stores: list[Store], capture_id: str) -> str | None:
    found = _answers(stores, lambda store: recorded_digest(store, capture_id))
    return next((digest for digest in found if digest), None)


def _first_good(stores: list[Store], key: str, sha256: str | None) -> bytes | None:
    """Bytes of the first store's object that has the digest, or of the first at all where none is known."""
    found = _answers(stores, lambda store: _read(store, key, MAX_JSON_BYTES))
    return next((data for data in found if sha256 in {None, digest_bytes(data).sha256}), None)


def _artifacts(record: EvidenceRecord, data: bytes) -> Iterator[Expected]:
    prefix = capture_prefix(record.capture_id)
    yield _of_bytes(f"{prefix}record.json", data)
    for one in record.artifacts:
        yield Expected(prefix + one.path, one.bytes, one.sha256, one.blake3)


def _seal(stores: list[Store], capture_id: str) -> list[Expected]:
    """Files of the seal: those its log entry lists, with their digests, and those that are merely there."""
    prefix = f"{capture_prefix(capture_id)}seal/"
    found: dict[str, Expected] = {}
    for keys in _answers(stores, lambda store: [info.key for info in store.list(prefix)]):
        found |= {key: Expected(key) for key in keys}
    for data in _answers(stores, lambda store: _read(store, prefix + LOG_ENTRY, MAX_SEAL_FILE_BYTES)):
        try:
            digests = parse_event(data).digests
        except ProofError:
            continue
        for name in digests.keys() - {"record.json"}:
            found[prefix + name] = Expected(prefix + name, sha256=digests[name])
        break
    return list(found.values())


def _answers(stores: list[Store], ask: Callable[[Store], Answer]) -> Iterator[Answer]:
    """Ask each store in turn; one that is out of reach is asked nothing more, except the first."""
    for store in list(stores):
        try:
            yield ask(store)
        except StoreUnavailable:
            if store is not stores[0]:
                stores.remove(store)
        except StoreError:
            continue


def _read(store: Store, key: str, limit: int) -> bytes:
    with store.open(key, length=limit) as stream:
        return stream.read()


def _of_bytes(key: str, data: bytes) -> Expected:
    digests = digest_bytes(data)
    return Expected(key, len(data), digests.sha256, digests.blake3)
