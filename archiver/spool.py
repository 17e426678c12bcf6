"""The spool folder of one capture in the making: what is on disk whatever gets killed.

Layout (see docs/design.md): ``request.json``, ``wire.bin``, ``keys.log``, ``observed.json``,
``exhibits/`` and ``out/``. Folders are 0700 and files 0600, since wire file and keys hold cookies.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

CAPTURE_ID = re.compile(r"[0-9]{8}t[0-9]{6}z-[0-9a-hjkmnp-tv-z]{10}")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_capture_id(started_at: datetime) -> str:
    """Make an ID that sorts by time, is safe on every file system, and cannot be guessed.

    Args:
        started_at: Aware UTC.
    """
    tail = "".join(secrets.choice(_CROCKFORD) for _ in range(10))
    return f"{started_at.astimezone(UTC):%Y%m%dt%H%M%Sz}-{tail}"


def utc_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-24T08:12:03.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Spool:
    """One capture's folder. Holds paths only; every write is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.capture_id = folder.name
        self.wire = folder / "wire.bin"
        self.keys = folder / "keys.log"
        self.exhibits = folder / "exhibits"
        self.out = folder / "out"
        self._secrets = folder / "secrets.json"
        self._request = folder / "request.json"
        self._observed = folder / "observed.json"
        self._held: int | None = None

    @classmethod
    def create(cls, root: Path, capture_id: str, request: dict[str, Any]) -> Spool:
        """Make the folder, held, and write what was asked, durably, before the first byte is requested.

        It gets its name when it is held: no other process can take it for one that was left behind.
        """
        making = cls(root / f".new-{capture_id}")
        making.folder.mkdir(mode=0o700, parents=True)
        making.exhibits.mkdir(mode=0o700)
        making.hold()
        making._write(making._request, request)
        spool = cls(root / capture_id)
        making.folder.rename(spool.folder)
        spool._held, making._held = making._held, None
        return spool

    @property
    def request(self) -> dict[str, Any]:
        """What was asked, in what circumstances."""
        return _read(self._request)

    @property
    def observed(self) -> dict[str, Any] | None:
        """What the session saw, or None when the capture was interrupted."""
        return _read(self._observed) if self._observed.exists() else None

    def write_observed(self, observed: dict[str, Any]) -> None:
        """End the capture: from here on it is whole."""
        self._write(self._observed, observed)

    def write_secrets(self, values: Iterable[str]) -> None:
        """Add values of the session that the capture uses, which must not be stored in clear."""
        self._write(self._secrets, {"values": sorted({*self.read_secrets(), *values})})

    def read_secrets(self) -> list[str]:
        """Return what ``write_secrets`` was given; none for a capture without a session."""
        return list(_read(self._secrets)["values"]) if self._secrets.exists() else []

    def hold(self) -> bool:
        """Mark the spool as being worked on by this process; False when another one does."""
        self._held = os.open(self.folder / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.let_go()
            return False
        return True

    def let_go(self) -> None:
        """End ``hold``; the end of the process does the same."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def remove(self) -> None:
        """Drop the folder; for a capture that is in its store."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.let_go()

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        temporary = path.with_suffix(".part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def leftovers(root: Path) -> Iterator[Spool]:
    """Spools in *root* that an earlier run left behind, oldest first.

    A folder without a readable request never asked for anything and is removed.
    """
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if not CAPTURE_ID.fullmatch(folder.name):
            continue
        spool = Spool(folder)
        try:
            _ = spool.request
        except (OSError, ValueError):
            spool.remove()
            continue
        yield spool


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return value
