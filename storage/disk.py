"""How a folder store touches the disk: temporary files, create-only names, durability, locks.

Works on folder descriptors, so that a name swapped for a symbolic link in between leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from storage.disk_errors import disk_errors
from storage.errors import StoreUnavailable
from storage.keys import shown
from storage.streams import WindowReader, chunks

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that somebody put into the store must not hold us up.
_OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NO_MODES = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


@contextmanager
def temporary_file(folder: int) -> Iterator[tuple[int, str]]:
    """Make a new file in *folder*, locked as long as its writer lives, and remove its name at the end.

    Yields:
        Its descriptor and its name in *folder*.
    """
    descriptor, name = _claimed(folder)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _claimed(folder: int) -> tuple[int, str]:
    while True:
        name = secrets.token_hex(16)
        descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)  # a clean-up saw it before it was locked


def remove_dead(folder: int) -> int:
    """Remove the temporary files in *folder* whose writers are dead; return how many."""
    with os.scandir(folder) as entries:
        return sum(_remove_if_dead(folder, entry.name) for entry in entries)


def _remove_if_dead(folder: int, name: str) -> bool:
    try:
        descriptor = os.open(name, _OBJECT, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as exc:
        if exc.errno in _NO_LOCKS:
            return False  # nobody can say whether the writer lives
        raise
    finally:
        os.close(descriptor)
    return True


def fill(descriptor: int, source: bytes | Path | BinaryIO) -> tuple[int, str]:
    """Write *source*, make the file read-only and durable; return its size in bytes and hex SHA-256."""
    digest = hashlib.sha256()
    size_bytes = 0
    for chunk in chunks(source):
        digest.update(chunk)
        size_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    try:
        os.fchmod(descriptor, 0o444)
    except OSError as exc:
        if exc.errno not in _NO_MODES:  # FAT, and file systems of FUSE
            raise
    os.fsync(descriptor)
    return size_bytes, digest.hexdigest()


def publish(root: int, temporary: tuple[int, str], final: tuple[int, str]) -> bool:
    """Give the temporary file its final name if that is free; tell whether it was.

    Args:
        root: The store's folder, for the lock that stands in where the disk has no hard links.
        temporary: Folder descriptor and name.
        final: Folder descriptor and name.
    """
    try:
        os.link(temporary[1], final[1], src_dir_fd=temporary[0], dst_dir_fd=final[0], follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        return _rename_if_free(root, temporary, final)
    return True


def _rename_if_free(root: int, temporary: tuple[int, str], final: tuple[int, str]) -> bool:
    # A rename replaces: only programs that take this lock are told apart.
    with locked(root):
        try:
            os.stat(final[1], dir_fd=final[0], follow_symlinks=False)
        except FileNotFoundError:
            os.rename(temporary[1], final[1], src_dir_fd=temporary[0], dst_dir_fd=final[0])
            return True
        return False


def can_link(folder: int) -> bool:
    """Tell whether the disk of *folder* has hard links, by making one."""
    with temporary_file(folder) as (_, name):
        try:
            os.link(name, f"{name}-2", src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as exc:
            if exc.errno in _NO_LINKS:
                return False
            raise
        os.unlink(f"{name}-2", dir_fd=folder)
    return True


@contextmanager
def locked(root: int) -> Iterator[None]:
    """Exclude the other threads and processes that take the lock of the store in *root*."""
    descriptor = os.open(".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=root)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(parent: int, name: str, mode: int) -> None:
    """Make the folder *name* in *parent* unless something of that name is there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
        sync_folder(parent)


def sync_folder(descriptor: int) -> bool:
    """Make the names in a folder durable; tell whether the disk knows how to."""
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno in _NO_FOLDER_SYNC:
            return False
        raise
    return True


class FileReader(WindowReader):
    """Reads a window of one file of a store and closes it at the end.

    Args:
        key: For messages.
        folder: Descriptor of the file's folder.
        name: Name in it; a symbolic link is not followed.
    """

    def __init__(self, key: str, folder: int, name: str) -> None:
        self._descriptor = os.open(name, _OBJECT, dir_fd=folder)
        self._key = key
        found = os.fstat(self._descriptor)
        super().__init__(found.st_size)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise FileNotFoundError(errno.ENOENT, "not a file")

    def _read_into(self, view: memoryview, position: int) -> int:
        with disk_errors(f"object {shown(self._key)}"):
            count = os.preadv(self._descriptor, [view], position)
        if count == 0:
            raise StoreUnavailable(
                f"object {shown(self._key)}: shrank while it was read: expected byte {position}, got the end",
                code="E621",
                hint="verify the object; something other than this tool changes the store",
            )
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
