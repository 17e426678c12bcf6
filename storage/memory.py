"""A store in memory: for tests and for what need not outlive the process."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from storage.errors import ObjectMissing
from storage.interface import Capabilities, ObjectInfo, Receipt
from storage.keys import check_folder, check_key, check_prefix, shown
from storage.retention import Lock, Retention, check_deletable, check_stricter
from storage.streams import (
    check_announced,
    check_range,
    check_replacement,
    chunks,
    require_announced,
    require_etag,
    require_same,
)


class MemoryStore:
    """Keeps every object whole in memory, so the contract's flat memory holds for streams only."""

    def __init__(self) -> None:
        self.url = "memory:"
        self._objects: dict[str, bytes] = {}
        self._locks: dict[str, Lock] = {}
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Racing creators are told apart; nothing is locked or versioned."""
        return Capabilities(conditional_writes=True, retention=False, versioning=False)

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* or find the same bytes there; see ``storage.interface``."""
        check_key(key)
        check_announced(key, sha256)
        data = b"".join(chunks(source))
        digest = _tag(data)
        require_announced(key, sha256, digest)
        with self._lock:
            created = key not in self._objects
            stored = self._objects.setdefault(key, data)
        require_same(key, (len(stored), _tag(stored)), (len(data), digest))
        return Receipt(key=key, size_bytes=len(data), sha256=digest, created=created, etag=digest)

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* for reading; see ``storage.interface``."""
        check_range(key, offset, length)
        data = self._get(key)
        return io.BytesIO(data[offset : None if length is None else offset + length])

    def stat(self, key: str) -> ObjectInfo:
        """Describe *key*; see ``storage.interface``."""
        data = self._get(key)
        return ObjectInfo(key=key, size_bytes=len(data), etag=_tag(data))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in order of keys; see ``storage.interface``."""
        check_prefix(prefix)
        with self._lock:
            snapshot = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        return (ObjectInfo(key=key, size_bytes=len(data), etag=_tag(data)) for key, data in snapshot)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the next segments under *prefix*; see ``storage.interface``."""
        check_folder(prefix)
        below = (info.key.removeprefix(prefix) for info in self.list(prefix))
        return iter(sorted({rest.split("/", 1)[0] for rest in below if "/" in rest}))

    def replace(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Swap *key* if it still has *etag*; see ``storage.interface``."""
        check_key(key)
        check_replacement(key, data, etag)
        with self._lock:
            stored = self._objects.get(key)
            require_etag(key, etag, None if stored is None else _tag(stored))
            self._objects[key] = data
        return _tag(data)

    def delete(self, key: str) -> None:
        """Delete *key*; see ``storage.interface``."""
        check_deletable(key, self.lock_of(key))
        with self._lock:
            self._objects.pop(key, None)
            self._locks.pop(key, None)

    def cleanup(self) -> int:
        """Nothing outlives a dead writer here."""
        return 0

    def restore(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str) -> Receipt:
        """Put the right bytes in the place of *key*; see ``storage.repair``. The old ones are not kept."""
        self._get(key)
        data = b"".join(chunks(source))
        require_announced(key, sha256, _tag(data))
        with self._lock:
            self._objects[key] = data
        return Receipt(key=key, size_bytes=len(data), sha256=sha256, created=True, etag=sha256)

    def lock_of(self, key: str) -> Lock:
        """Return the lock of *key*; see ``storage.retention``."""
        self._get(key)
        return self._locks.get(key, Lock())

    def retain(self, key: str, retention: Retention) -> Lock:
        """Keep *key* until a date, as far as this tool goes; see ``storage.retention``."""
        check_stricter(key, self.lock_of(key), retention)
        self._locks[key] = replace(self.lock_of(key), retention=retention)
        return self._locks[key]

    def hold(self, key: str) -> Lock:
        """Lay a legal hold on *key*; see ``storage.retention``."""
        self._locks[key] = replace(self.lock_of(key), held=True)
        return self._locks[key]

    def release(self, key: str) -> Lock:
        """Take the legal hold off *key*; see ``storage.retention``."""
        self._locks[key] = replace(self.lock_of(key), held=False)
        return self._locks[key]

    def _get(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise ObjectMissing(
                f"object {shown(key)}: not in the store: expected an object, got none",
                code="E602",
                hint="check the key, or list the store",
            )
        return data


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
