"""Where a verifier finds the files of one capture: names, sizes, and their bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from manifests.errors import ManifestError

MAX_ENTRIES = 10_000
MAX_DEPTH = 8


class SetUnreadable(ManifestError, OSError):
    """The files of a capture cannot be listed or read; it says nothing about them."""

    __str__ = ManifestError.__str__


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that lies in the set.

    Args:
        name: Its path inside the set, with ``/``.
        size_bytes: Its length; 0 when it is no plain file.
        plain: False for links, devices and the like, which are never opened.
    """

    name: str
    size_bytes: int
    plain: bool = True


class EvidenceSet(Protocol):
    """The files of one capture, ``record.json`` among them.

    An implementation MUST

    1. list everything that is there, at most once, and follow no link;
    2. raise only ``OSError`` (``SetUnreadable`` is one), also from the streams it opens;
    3. open seekable streams whose ``read(n)`` is short only at the end, several at once and from two threads.
    """

    def entries(self) -> Iterator[Entry]:
        """Yield what lies in the set, in any order."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a plain file for reading; the caller closes it."""
        ...


def read_whole(evidence: EvidenceSet, name: str, max_bytes: int) -> bytes:
    """Read a small file whole.

    Raises:
        SetUnreadable: It is longer than *max_bytes*.
        OSError: It could not be read.
    """
    with evidence.open(name) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SetUnreadable(
            f"evidence file {name}: reading failed: expected at most {max_bytes} bytes, got more", code="E327"
        )
    return data


class FolderSet:
    """A capture in a folder.

    Args:
        root: The folder that holds ``record.json``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def entries(self) -> Iterator[Entry]:
        """Yield every file below the folder; no link is followed.

        Raises:
            SetUnreadable: The folder cannot be listed, or holds more than any capture.
        """
        count = 0
        folders = [("", 0)]
        while folders:
            prefix, depth = folders.pop()
            for item in self._scan(prefix):
                count += 1
                if count > MAX_ENTRIES or depth >= MAX_DEPTH:
                    raise self._unreadable(f"at most {MAX_ENTRIES} files, {MAX_DEPTH} folders deep", "more")
                name = prefix + item.name
                if item.is_dir(follow_symlinks=False):
                    folders.append((f"{name}/", depth + 1))
                elif item.is_file(follow_symlinks=False):
                    yield Entry(name, item.stat(follow_symlinks=False).st_size)
                else:
                    yield Entry(name, 0, plain=False)

    def open(self, name: str) -> BinaryIO:
        """Open *name*, which ``entries`` gave; a link in its place, or on the way to it, is refused.

        Raises:
            OSError: It cannot be opened, or is no plain file any more.
        """
        *folders, last = name.split("/")
        if not all(part not in ("", ".", "..") for part in (*folders, last)):
            raise self._unreadable("a name inside the folder", name)
        at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            # Without O_NONBLOCK a named pipe in the place of the file would block for ever.
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        finally:
            os.close(at)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise self._unreadable("a plain file", name)
        return os.fdopen(file, "rb", buffering=0)

    def _scan(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / prefix) as items:
                return list(islice(items, MAX_ENTRIES + 1))
        except OSError as error:
            raise self._unreadable("a readable folder", f"{prefix or '.'}: {error.strerror}") from error

    def _unreadable(self, expected: str, got: str) -> SetUnreadable:
        return SetUnreadable(
            f"evidence folder {self.root.name}: reading failed: expected {expected}, got {got}",
            code="E327",
            hint="copy the folder to a local disk and verify the copy",
        )
