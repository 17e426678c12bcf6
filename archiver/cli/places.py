"""Where the captures lie that a command is to verify: stores, exports, ZIPs, folders of one capture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archiver.cli.stores import CAPTURE_ID, capture_ids, full_ids
from archiver.log_checking import Kind
from archiver.store_set import evidence_set
from archiver.summary import capture_prefix
from archiver.unpacking import unpack_export
from manifests.evidence_set import EvidenceSet, FolderSet
from storage.errors import ObjectMissing
from storage.folder import FolderStore
from storage.interface import Store

StoreOf = Callable[[], Store]


@dataclass(frozen=True, slots=True)
class Target:
    """One capture to verify.

    Args:
        files: What lies in it.
        subject: Its name.
        capture_id: Its ID where the place states it, or empty.
    """

    files: EvidenceSet
    subject: str
    capture_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Captures that lie together.

    Args:
        store: Where; for the folder of one capture, that folder.
        kind: What it is.
        capture_ids: Which captures of it; None for the folder of one.
        name: What to call it.
    """

    store: Store
    kind: Kind
    capture_ids: Sequence[str] | None
    name: str

    def targets(self, unfinished: list[str]) -> Iterator[Target]:
        """Yield the captures; IDs of those that have no record and were not named go to *unfinished*."""
        if self.capture_ids is None:
            assert isinstance(self.store, FolderStore)
            # The folder of one capture may have been renamed; its record says which it is.
            capture_id = self.name if CAPTURE_ID.fullmatch(self.name) else ""
            yield Target(FolderSet(self.store.root), f"folder {self.name}", capture_id)
            return
        for capture_id in self.capture_ids:
            if self.kind == "some" or self._has_record(capture_id):
                yield Target(evidence_set(self.store, capture_id), f"capture {capture_id}", capture_id)
            else:
                unfinished.append(capture_id)

    def _has_record(self, capture_id: str) -> bool:
        try:
            self.store.stat(f"{capture_prefix(capture_id)}record.json")
        except ObjectMissing:
            return False
        return True


def whole_store(store: Store) -> Place:
    """Every capture of a store."""
    return Place(store, "store", capture_ids(store), store.url)


def named_places(given: Sequence[str], store_of: StoreOf) -> Iterator[Place]:
    """Yield where the captures lie that a person named.

    A place in a ZIP is gone when the next one is asked for.

    Args:
        given: Folders, ZIPs, and IDs of captures or their beginnings.
        store_of: Opens the store that IDs are of.
    """
    ids = [text for text in given if not _is_export(text) and not _is_folder(text)]
    if ids:
        store = store_of()
        yield Place(store, "some", full_ids(store, ids), store.url)
    for text in given:
        path = Path(text)
        if _is_export(text):
            with tempfile.TemporaryDirectory(prefix="verify-") as folder:
                unpack_export(path, Path(folder))
                yield _of_folder(Path(folder), path.name)
        elif _is_folder(text):
            yield _of_folder(path, path.resolve().name)


def _is_export(text: str) -> bool:
    return bool(text) and Path(text).is_file() and Path(text).suffix.lower() == ".zip"


def _is_folder(text: str) -> bool:
    return bool(text) and Path(text).is_dir()


def _of_folder(path: Path, name: str) -> Place:
    """The captures of a bundle, or the one whose folder it is, also one folder down."""
    inner = list(path.iterdir())
    if len(inner) == 1 and inner[0].is_dir() and inner[0].name != "captures":
        path, name = inner[0], inner[0].name
    if (path / "bagit.txt").is_file():
        path /= "data"
    store = FolderStore(path)
    is_export = (path / "captures").is_dir()
    return Place(store, "export", capture_ids(store) if is_export else None, name)
