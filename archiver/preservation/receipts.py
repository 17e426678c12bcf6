"""Storage receipts: what each store answered when a capture was put into it.

A receipt lies at ``receipts/<capture_id>/<SHA-256 of its bytes>.json``, outside the capture, whose files are
exactly those of its record. Its name checks its bytes; it fixes the digest of ``record.json`` and so of all
artefacts. A capture that was put twice has two. ``receipts/<capture_id>/deleted.json`` says that the capture
was deleted on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from archiver.spool import utc_text
from archiver.stores import store_label
from manifests.canonical import canonical_bytes
from manifests.digests import digest_bytes
from storage.errors import ObjectMissing
from storage.interface import Receipt, Store

FORMAT = "storage-receipt/1"
DELETED = "deleted.json"
ANNEX_NAME = "annex.age"
MAX_RECEIPT_BYTES = 4 * 1024 * 1024


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    bytes: int
    sha256: str


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    objects: list[_Object]


class _Receipt(msgspec.Struct, frozen=True, kw_only=True):
    capture_id: str
    copies: list[_Copy]


def receipts_prefix(capture_id: str) -> str:
    """Return the prefix of everything that is noted about the storing of a capture."""
    return f"receipts/{capture_id}/"


def keys_prefix(capture_id: str) -> str:
    """Return the prefix of what only recipients open: later keys of a confidential capture, and its annex."""
    return f"keys/{capture_id}/"


def quality_prefix(capture_id: str) -> str:
    """Return the prefix of checks of quality, which are made later and are no part of the evidence."""
    return f"quality/{capture_id}/"


def put_receipt(store: Store, capture_id: str, receipts: Sequence[Receipt]) -> str:
    """Write down what the stores answered to the puts of a capture; return the key.

    Raises:
        StoreError: It could not be stored.
    """
    by_store: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        for url, one in receipt.copies or ((store.url, receipt),):
            by_store.setdefault(url, []).append(one)
    facts = {
        "format": FORMAT,
        "capture_id": capture_id,
        "stored_at": utc_text(datetime.now(UTC)),
        "copies": [
            {"store": store_label(url), "objects": [_facts(one) for one in ones]}
            for url, ones in sorted(by_store.items())
        ],
    }
    data = canonical_bytes(facts)
    key = f"{receipts_prefix(capture_id)}{digest_bytes(data).sha256}.json"
    store.put(key, data)
    return key


def recorded_digest(store: Store, capture_id: str) -> str | None:
    """Return the SHA-256 that a capture's ``record.json`` must have by its receipts; None without any.

    Raises:
        StoreError: The store cannot be read.
    """
    for data in _intact_receipts(store, capture_id):
        try:
            receipt = msgspec.json.decode(data, type=_Receipt)
        except msgspec.DecodeError:
            continue
        if receipt.capture_id != capture_id:
            continue
        for copy in receipt.copies:
            for one in copy.objects:
                if one.key == f"captures/{capture_id}/record.json":
                    return one.sha256
    return None


def was_deleted(store: Store, capture_id: str) -> bool:
    """Tell whether a capture was deleted by ``archiver delete``."""
    try:
        store.stat(f"{receipts_prefix(capture_id)}{DELETED}")
    except ObjectMissing:
        return False
    return True


def _intact_receipts(store: Store, capture_id: str) -> Iterator[bytes]:
    prefix = receipts_prefix(capture_id)
    for info in store.list(prefix):
        name = info.key.removeprefix(prefix)
        if info.size_bytes > MAX_RECEIPT_BYTES or name == DELETED:
            continue
        with store.open(info.key) as stream:
            data = stream.read()
        if name == f"{digest_bytes(data).sha256}.json":
            yield data


def _facts(one: Receipt) -> dict[str, Any]:
    return {
        "key": one.key,
        "bytes": one.size_bytes,
        "sha256": one.sha256,
        "created": one.created,
        "version_id": one.version_id,
        "server_checksum": one.server_checksum,
    }
