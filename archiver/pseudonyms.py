"""Names for the seeds of confidential captures, by which this installation knows them again.

The outer record of a confidential capture tells no address. So that a run does not capture again what the
store holds already, it has a pseudonym in its place: an HMAC of incident, vantage and address under a key of
this installation. Without the key nobody can try addresses on it; a lost key costs nothing but captures that
are made once more. Within an incident the same page has the same pseudonym.

Source: RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from archiver.confidential import HIDDEN_URL
from archiver.errors import EnvironmentUnfit

KEY_BYTES = 32


def seed_key(folder: Path) -> bytes:
    """Return the key of this installation from ``seed-key`` in *folder*, made at its first use, 0600.

    Raises:
        EnvironmentUnfit: E195, it can be neither read nor made.
    """
    path = folder / "seed-key"
    got = "another length"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        key, got = b"", error.strerror or type(error).__name__
    if len(key) != KEY_BYTES:
        raise EnvironmentUnfit(
            f"seed key {path}: expected a file of {KEY_BYTES} bytes, got {got}",
            code="E195",
            hint="restore it from a backup, or remove it: confidential pages are then captured once more",
        )
    return key


def pseudonym(key: bytes, url: str, incident_id: str, vantage: str) -> str:
    """Return what stands for the address *url* in the outer record of a confidential capture."""
    # Lines, as none of the three can hold a line break.
    facts = f"{incident_id}\n{vantage}\n{url}".encode()
    return f"{HIDDEN_URL}:{hmac.new(key, facts, hashlib.sha256).hexdigest()}"


def _make(path: Path) -> None:
    """Write a new key whole under its name, unless another process was first."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            part.rename(path)
    finally:
        part.unlink(missing_ok=True)
