"""Put a damaged or missing object right from a good copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.audit import Expected
from storage.errors import ObjectMissing, StoreError, StoreUnavailable
from storage.interface import Receipt, Store
from storage.keys import shown


class RestorableStore(Store, Protocol):
    """A store whose damaged objects can be put right. The one way past write-once, for right bytes only."""

    def restore(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str) -> Receipt:
        """Put *source* in the place of *key*; what is there is kept aside, out of every listing.

        The object is there at every moment, with the old bytes or the new ones.

        Args:
            key: An object that is there.
            source: The right bytes.
            sha256: Hex digest that they must have.

        Raises:
            InvalidKey, ObjectMissing, DigestMismatch, SourceUnreadable, StoreRefused, StoreUnavailable.
        """
        ...


def repair(wanted: Expected, store: RestorableStore, others: Iterable[Store]) -> str:
    """Put the object *wanted* right in *store* from the first of *others* whose copy has its SHA-256.

    Args:
        wanted: Has a SHA-256; without one nobody can say which copy is right.
        store: Where the object is damaged or missing.
        others: Where to look, in this order.

    Returns:
        The URL of the store that had the good copy.

    Raises:
        ValueError: *wanted* has no SHA-256.
        StoreUnavailable: None of *others* has a good copy, or *store* took none; with each one's reason.
    """
    if wanted.sha256 is None:
        raise ValueError(f"object {shown(wanted.key)}: expected a known sha256 to repair by, got none")
    reasons = []
    for other in others:
        try:
            with other.open(wanted.key) as copy:
                _replace(store, wanted.key, copy, wanted.sha256)
        except StoreError as exc:
            reasons.append(f"{other.url}: {exc}")
        else:
            return other.url
    raise StoreUnavailable(
        f"object {shown(wanted.key)}: cannot be repaired: expected a good copy in another store, "
        f"got {'; '.join(reasons) or 'no other store'}",
        code="E660",
        hint="connect more stores, or look for a copy in backups",
    )


def _replace(store: RestorableStore, key: str, copy: BinaryIO, sha256: str) -> None:
    try:
        store.stat(key)
    except ObjectMissing:
        store.put(key, copy, sha256=sha256)
    else:
        store.restore(key, copy, sha256=sha256)
