"""The folders of a folder store: ways to a file that follow no link, and what lies below."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from storage import disk
from storage.disk_errors import disk_errors
from storage.errors import ObjectConflict, StoreRefused
from storage.interface import ObjectInfo
from storage.keys import is_key, shown

TEMPORARY = ".tmp"


class FolderTree:
    """A folder and the way to everything in it. See ``FolderStore``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    @property
    def _subject(self) -> str:
        return f"store {shown(self.url)}"

    @cached_property
    def _folds_case(self) -> bool:
        return (self.root / TEMPORARY.upper()).exists()

    @contextmanager
    def _prepared(self) -> Iterator[tuple[int, int]]:
        """Open the root and its ``.tmp``, made where they are missing."""
        if not self.root.exists():
            self._make_root()
        with ExitStack() as stack:
            root = self._open_root()
            stack.callback(os.close, root)
            disk.make_folder(root, TEMPORARY, 0o700)
            temporary = os.open(TEMPORARY, disk.FOLDER | os.O_NOFOLLOW, dir_fd=root)
            stack.callback(os.close, temporary)
            yield root, temporary

    def _make_root(self) -> None:
        root = self.root.absolute()
        if not root.parent.is_dir():
            raise StoreRefused(
                f"{self._subject}: cannot be made: expected the folder {shown(str(root.parent))}, got none",
                code="E619",
                hint="make that folder first, or check the path",
            )
        parent = os.open(root.parent, disk.FOLDER)
        try:
            disk.make_folder(parent, root.name, 0o700)
        finally:
            os.close(parent)

    def _open_root(self) -> int:
        with disk_errors(self._subject):
            try:
                return os.open(self.root, disk.FOLDER)
            except (FileNotFoundError, NotADirectoryError) as exc:
                got = "nothing there" if isinstance(exc, FileNotFoundError) else "a file"
                raise StoreRefused(
                    f"{self._subject}: not a store: expected a folder, got {got}",
                    code="E619",
                    hint="check the path; a first capture into it makes the folder",
                ) from exc

    @contextmanager
    def _folder_of(self, key: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that holds *key*; yield its descriptor and the last segment."""
        *folders, name = key.split("/")
        descriptor = self._open_root()
        try:
            for folder in folders:
                if create:
                    disk.make_folder(descriptor, folder, 0o777)
                self._check_spelling(descriptor, folder, key, create=create)
                below = _open_below(descriptor, folder, create=create)
                os.close(descriptor)
                descriptor = below
            self._check_spelling(descriptor, name, key, create=create)
            yield descriptor, name
        finally:
            os.close(descriptor)

    def _is_there(self, key: str) -> bool:
        """Tell whether *key* is an object; raises where something else has its name."""
        if not self.root.exists():
            return False
        try:
            with self._folder_of(key) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a file")
        return True

    def _sync_folders(self, key: str) -> None:
        """Make the names on the way to *key* durable, also those a racing writer made a moment ago."""
        above = key
        while above:
            with self._folder_of(above) as (folder, _):
                disk.sync_folder(folder)
            above = above.rpartition("/")[0]

    def _check_spelling(self, folder: int, name: str, key: str, *, create: bool) -> None:
        """On a disk that ignores case, tell a name from another spelling of it."""
        if not self._folds_case or name in (names := os.listdir(folder)):
            return
        if create and name.casefold() in map(str.casefold, names):
            raise ObjectConflict(
                f"object {shown(key)}: this disk ignores case: expected a new name, got another spelling of "
                f"{shown(name)}",
                code="E620",
                hint="keep the store on a disk that tells upper from lower case",
            )
        if not create:
            raise FileNotFoundError(errno.ENOENT, "other spelling")

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        above = prefix.rpartition("/")[0]
        if above and not self._is_folder(above):
            return
        pending = [f"{above}/" if above else ""]
        while pending:
            key = pending.pop()
            with disk_errors(f"folder {shown(key)}"):
                if not key or key.endswith("/"):
                    pending += [k for k in reversed(self._children(key)) if _can_lead_to(k, prefix)]
                    continue
                try:
                    found = (self.root / key).lstat()
                except FileNotFoundError:
                    continue  # deleted since its folder was read
            yield ObjectInfo(key=key, size_bytes=found.st_size)

    def _is_folder(self, key: str) -> bool:
        with disk_errors(f"folder {shown(key)}"):
            try:
                with self._folder_of(key) as (folder, name):
                    os.close(_open_below(folder, name, create=False))
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def _children(self, folder: str) -> Sequence[str]:
        """Keys directly in *folder* (empty: the root), those of folders with a final ``/``, in order."""
        try:
            with os.scandir(self.root / folder) as entries:
                keys = [folder + name for name in map(_listed_name, entries) if name]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(key for key in keys if is_key(key.removesuffix("/")))


def _open_below(folder: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, disk.FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError as exc:
        if create:
            raise
        raise FileNotFoundError(errno.ENOENT, "no such folder") from exc


def _listed_name(entry: os.DirEntry[str]) -> str:
    """Name of a file, of a folder with a final ``/``, or nothing: links and devices hold no objects."""
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file(follow_symlinks=False) else ""


def _can_lead_to(key: str, prefix: str) -> bool:
    return key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key))
