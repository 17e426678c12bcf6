"""The store that the settings name, which may be several, and what it cannot promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archiver.config import Settings
from storage.errors import StoreError
from storage.folder import FolderStore
from storage.open import open_store
from storage.replicated import ReplicatedStore
from storage.retention import LockingStore, RetentionMode, RetentionRule

if TYPE_CHECKING:
    from storage.interface import Store
    from storage.s3 import S3Store

    Copy = FolderStore | S3Store


def open_stores(settings: Settings) -> LockingStore:
    """Open the store of *settings*; several become one that writes to all. Nothing is asked of them yet.

    Raises:
        InvalidStoreUrl, StoreRefused: A name is none, or the AWS settings are unusable.
    """
    copies = open_copies(settings)
    return ReplicatedStore(copies, settings.quorum) if settings.stores else copies[0]


def open_copies(settings: Settings) -> Sequence[Copy]:
    """Open each store of *settings* by itself, the first one first."""
    rule = rule_of(settings)
    return [open_store(url, rule) for url in settings.stores or (settings.store,)]


def copies_of(store: LockingStore) -> Sequence[LockingStore]:
    """Return the stores that *store* consists of."""
    return store.stores if isinstance(store, ReplicatedStore) else (store,)


def first_of(store: Store) -> Store:
    """Return the store that decides where one must: the first of several, which keeps the custody log."""
    return store.stores[0] if isinstance(store, ReplicatedStore) else store


def rule_of(settings: Settings) -> RetentionRule | None:
    """Return what the settings ask new objects to be kept by."""
    if settings.retention.mode == "none":
        return None
    return RetentionRule(RetentionMode(settings.retention.mode.upper()), settings.retention.days)


def store_label(url: str) -> str:
    """Name a store without the folders that it lies in, which may name a person."""
    return url if "://" in url else url.rstrip("/").rpartition("/")[2]


def broken_promises(store: LockingStore, settings: Settings) -> Iterator[str]:
    """Yield a sentence for each store that does not keep what the settings ask for."""
    if settings.retention.mode == "none":
        return
    for copy in copies_of(store):
        if isinstance(copy, FolderStore):
            continue  # no folder can, which is said when it is made and checked
        try:
            kept = copy.capabilities.retention
        except StoreError as error:
            yield f"store {copy.url}: cannot be asked whether it keeps locks: {error}"
            continue
        if not kept:
            yield (
                f"store {copy.url}: has no Object Lock, so nothing in it is retained; "
                "use a bucket made by archiver store init, or set retention.mode to none"
            )
