"""What the operating system says of a folder store, in the words of a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from storage.errors import ObjectConflict, ObjectMissing, StoreError, StoreRefused, StoreUnavailable

_CAUSES: Final[dict[int, tuple[type[StoreError], str, str, str]]] = {
    errno.ENOENT: (ObjectMissing, "E602", "an object, got none", "check the key, or list the store"),
    errno.ENOTDIR: (
        ObjectConflict,
        "E608",
        "a folder on the way to it, got a file or a link",
        "store it under a key that does not pass through another object",
    ),
    errno.EISDIR: (ObjectConflict, "E608", "an object, got a folder", "store it under another key"),
    errno.ELOOP: (StoreRefused, "E609", "a file, got a symbolic link", "remove the link; a store has none"),
    errno.EACCES: (StoreRefused, "E610", "permission, got permission denied", "give this user the rights"),
    errno.EPERM: (StoreRefused, "E610", "permission, got not permitted", "give this user the rights"),
    errno.EROFS: (StoreRefused, "E611", "a writable disk, got a read-only one", "mount it writable"),
    errno.ENAMETOOLONG: (
        StoreRefused,
        "E612",
        "a name the disk can hold, got one too long",
        "shorten the key",
    ),
    errno.EINVAL: (StoreRefused, "E612", "a name the disk can hold, got an invalid one", "use plain letters"),
    errno.EILSEQ: (StoreRefused, "E612", "a name the disk can hold, got an invalid one", "use plain letters"),
    errno.EXDEV: (
        StoreRefused,
        "E613",
        "one file system in the store, got another one mounted inside",
        "keep the whole store on one file system",
    ),
    errno.ENOSPC: (
        StoreUnavailable,
        "E614",
        "room on the disk, got none left",
        "free space and run it again",
    ),
    errno.EDQUOT: (
        StoreUnavailable,
        "E614",
        "room in the quota, got none left",
        "free space and run it again",
    ),
    errno.EFBIG: (
        StoreUnavailable,
        "E614",
        "room for the file, got the largest size allowed",
        "raise the file size limit, or use a disk without one (FAT holds 4 GB)",
    ),
    errno.EIO: (
        StoreUnavailable,
        "E615",
        "a working disk, got an I/O error",
        "check the disk; copy the store off it",
    ),
}

_FAILURES: Final[dict[type[StoreError], str]] = {
    ObjectMissing: "not in the store",
    ObjectConflict: "name taken",
    StoreRefused: "disk refused",
    StoreUnavailable: "disk failed",
}


@contextmanager
def disk_errors(subject: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into a store error about *subject*, such as ``object <key>``."""
    try:
        yield
    except OSError as exc:
        number = exc.errno or 0
        name = errno.errorcode.get(number, type(exc).__name__)
        kind, code, expected, hint = _CAUSES.get(
            number,
            (StoreUnavailable, "E616", f"the disk to answer, got {name}", "check the disk and run it again"),
        )
        raise kind(f"{subject}: {_FAILURES[kind]}: expected {expected}", code=code, hint=hint) from exc
