"""A store in a folder: write-once in what it does, though it cannot stop the owner of the disk."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from storage import disk
from storage.disk_errors import disk_errors
from storage.errors import StoreUnavailable
from storage.folder_tree import TEMPORARY, FolderTree
from storage.interface import Capabilities, ObjectInfo, Receipt
from storage.keys import check_folder, check_key, check_prefix, shown
from storage.probe import Promise, folder_promises
from storage.retention import (
    Lock,
    Retention,
    RetentionRule,
    check_deletable,
    check_stricter,
    from_note,
    from_rule_note,
    longer,
    to_note,
    to_rule_note,
)
from storage.streams import (
    MAX_MUTABLE_BYTES,
    check_announced,
    check_range,
    check_replacement,
    digest_of,
    require_announced,
    require_etag,
    require_same,
)

_LOCKS = ".locks"
_DAMAGED = ".damaged"
_RULE = ".retention"
_MAX_TRIES = 8


class FolderStore(FolderTree):
    """Objects as read-only files of one folder; names beginning with a dot at its top are the store's own.

    A file is written to ``.tmp``, synced, and linked to its name, so that it is there whole or not at
    all. Symbolic links below the root are never followed. What it does not do: stop whoever owns the
    disk from changing or deleting files, or keep versions. One name cannot be both an object and a
    folder of objects here: the second is an ``ObjectConflict``.

    Args:
        root: The folder. The first write makes it when its parent exists.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Conditional writes where the disk has hard links; makes the folder as a write would."""
        with disk_errors(self._subject), self._prepared() as (_, temporary):
            return Capabilities(
                conditional_writes=disk.can_link(temporary), retention=False, versioning=False
            )

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* or find the same bytes there; see ``storage.interface``."""
        check_key(key)
        check_announced(key, sha256)
        with disk_errors(f"object {shown(key)}"):
            created = False
            if self._is_there(key):
                size_bytes, digest = digest_of(source)
                require_announced(key, sha256, digest)
            else:
                size_bytes, digest, created = self._write(key, source, sha256)
            if not created and self._is_there(key):
                with self.open(key) as stored:
                    require_same(key, digest_of(stored), (size_bytes, digest))
            self._sync_folders(key)
        return Receipt(key=key, size_bytes=size_bytes, sha256=digest, created=created)

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* for reading; see ``storage.interface``."""
        check_key(key)
        check_range(key, offset, length)
        with disk_errors(f"object {shown(key)}"), self._folder_of(key) as (folder, name):
            return disk.FileReader(key, folder, name).narrowed(offset, length)

    def stat(self, key: str) -> ObjectInfo:
        """Describe *key*; the etag is the SHA-256, and empty where the object is too large to be replaced."""
        with self.open(key) as stored:
            size_bytes = stored.seek(0, os.SEEK_END)
            stored.seek(0)
            etag = digest_of(stored)[1] if size_bytes <= MAX_MUTABLE_BYTES else ""
        return ObjectInfo(key=key, size_bytes=size_bytes, etag=etag)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in order of keys, without etags; memory grows with the largest folder only."""
        check_prefix(prefix)
        os.close(self._open_root())
        return self._walk(prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the next segments under *prefix*; reads one folder, so an empty one is named as well."""
        check_folder(prefix)
        os.close(self._open_root())
        with disk_errors(f"folder {shown(prefix)}"):
            children = self._children(prefix)
        return (key.removeprefix(prefix)[:-1] for key in children if key.endswith("/"))

    def replace(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Swap *key* if it still has *etag*; programs that use this store exclude each other by a lock."""
        check_key(key)
        check_replacement(key, data, etag)
        with disk_errors(f"object {shown(key)}"), self._prepared() as (root, temporary), disk.locked(root):
            require_etag(key, etag, self.stat(key).etag if self._is_there(key) else None)
            return self._overwrite(temporary, key, data)

    def delete(self, key: str) -> None:
        """Delete *key* and the folders that it leaves empty; no version stays."""
        check_key(key)
        with disk_errors(f"object {shown(key)}"):
            check_deletable(key, self.lock_of(key))
            self._remove(key)
            with contextlib.suppress(FileNotFoundError):
                self._remove(f"{_LOCKS}/{key}")

    def restore(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str) -> Receipt:
        """Put the right bytes in the place of *key*, the old file under ``.damaged``; see ``repair``."""
        self.open(key).close()
        check_announced(key, sha256)
        aside = f"{_DAMAGED}/{key}/{secrets.token_hex(8)}"
        with (
            disk_errors(f"object {shown(key)}"),
            self._prepared() as (_, temporary),
            disk.temporary_file(temporary) as (descriptor, name),
        ):
            size_bytes, digest = disk.fill(descriptor, source)
            require_announced(key, sha256, digest)
            with self._folder_of(key) as (folder, final), self._folder_of(aside, create=True) as (kept, old):
                os.link(final, old, src_dir_fd=folder, dst_dir_fd=kept, follow_symlinks=False)
                os.rename(name, final, src_dir_fd=temporary, dst_dir_fd=folder)
            self._sync_folders(aside)
            self._sync_folders(key)
        return Receipt(key=key, size_bytes=size_bytes, sha256=digest, created=True)

    def probe(self) -> Sequence[Promise]:
        """Try every promise on the disk; see ``storage.probe``."""
        with disk_errors(self._subject), self._prepared() as (root, temporary):
            linked, synced = disk.can_link(temporary), disk.sync_folder(root)
        return folder_promises(linked=linked, synced=synced, case_kept=not self._folds_case)

    def lock_of(self, key: str) -> Lock:
        """Return the lock of *key*: a note under ``.locks`` and the store's rule, which bind this tool only.

        The rule counts from the time the file has: a copy of the folder keeps it, or begins anew.
        """
        self.open(key).close()
        with disk_errors(f"object {shown(key)}"):
            with self._folder_of(key) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            note = self._note(f"{_LOCKS}/{key}")
            lock = Lock() if note is None else from_note(key, note)
        if (rule := self.rule) is None:
            return lock
        kept = rule.starting(datetime.fromtimestamp(found.st_mtime, UTC))
        return Lock(longer(lock.retention, kept), held=lock.held)

    @property
    def rule(self) -> RetentionRule | None:
        """How long the store keeps what is put into it, by its file ``.retention``."""
        with disk_errors(self._subject):
            note = self._note(_RULE) if self.root.exists() else None
        return None if note is None else from_rule_note(self.url, note)

    def keep_new(self, rule: RetentionRule) -> RetentionRule:
        """Keep every object as long as *rule* or the store's own asks for, whichever is stricter."""
        with disk_errors(self._subject), self._prepared() as (root, temporary), disk.locked(root):
            joined = rule.joined(self.rule)
            self._overwrite(temporary, _RULE, to_rule_note(joined))
        return joined

    def retain(self, key: str, retention: Retention) -> Lock:
        """Keep *key* until a date, as far as this tool goes; see ``storage.retention``."""
        with disk_errors(f"object {shown(key)}"), self._prepared() as (root, temporary), disk.locked(root):
            lock = self.lock_of(key)
            check_stricter(key, lock, retention)
            self._overwrite(temporary, f"{_LOCKS}/{key}", to_note(Lock(retention, held=lock.held)))
        return self.lock_of(key)

    def hold(self, key: str) -> Lock:
        """Lay a legal hold on *key*; see ``storage.retention``."""
        return self._set_hold(key, held=True)

    def release(self, key: str) -> Lock:
        """Take the legal hold off *key*; see ``storage.retention``."""
        return self._set_hold(key, held=False)

    def cleanup(self) -> int:
        """Remove the temporary files of dead writers; return how many."""
        with disk_errors(self._subject):
            if not (self.root / TEMPORARY).exists():
                return 0
            with self._prepared() as (_, temporary):
                return disk.remove_dead(temporary)

    def _set_hold(self, key: str, *, held: bool) -> Lock:
        with disk_errors(f"object {shown(key)}"), self._prepared() as (root, temporary), disk.locked(root):
            lock = Lock(self.lock_of(key).retention, held=held)
            self._overwrite(temporary, f"{_LOCKS}/{key}", to_note(lock))
        return self.lock_of(key)

    def _note(self, path: str) -> bytes | None:
        """Bytes of one of the store's own small files, or None where it is not there."""
        try:
            with (
                self._folder_of(path) as (folder, name),
                disk.FileReader(path, folder, name).narrowed(0, MAX_MUTABLE_BYTES) as stored,
            ):
                return stored.read()
        except FileNotFoundError:
            return None

    def _overwrite(self, temporary: int, path: str, data: bytes) -> str:
        """Put small *data* in the place of whatever file is at *path*; return its SHA-256."""
        with disk.temporary_file(temporary) as (descriptor, name):
            digest = disk.fill(descriptor, data)[1]
            with self._folder_of(path, create=True) as (folder, final):
                os.rename(name, final, src_dir_fd=temporary, dst_dir_fd=folder)
        self._sync_folders(path)
        return digest

    def _remove(self, path: str) -> None:
        with self._folder_of(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
            disk.sync_folder(folder)
        while "/" in path:
            path = path.rpartition("/")[0]
            try:
                with self._folder_of(path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError:
                return  # other objects are in it, or another delete took it

    def _write(self, key: str, source: bytes | Path | BinaryIO, sha256: str | None) -> tuple[int, str, bool]:
        with self._prepared() as (root, temporary), disk.temporary_file(temporary) as (descriptor, name):
            size_bytes, digest = disk.fill(descriptor, source)
            require_announced(key, sha256, digest)
            for _ in range(_MAX_TRIES):
                # A delete may take the folder away between our making it and our linking into it.
                with contextlib.suppress(FileNotFoundError), self._folder_of(key, create=True) as final:
                    return size_bytes, digest, disk.publish(root, (temporary, name), final)
        raise StoreUnavailable(
            f"object {shown(key)}: its folder vanishes: expected it to stay, "
            f"got it deleted {_MAX_TRIES} times",
            code="E618",
            hint="end the program that deletes folders of this store",
        )
