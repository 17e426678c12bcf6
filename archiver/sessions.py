"""Logged-in sessions kept for later captures: cookies and local storage, encrypted at rest.

A session is the state of a browser after somebody logged in. It lies in ``sessions/<name>.age`` in the state
folder. With a passphrase (``ARCHIVER_SESSION_PASSPHRASE``) it is encrypted to that; without one to a key that
the keyring of the operating system holds. Where there is neither, no session is kept.

Source: age-encryption.org/v1, recipients of the kinds scrypt and X25519.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keyring
import msgspec
import pyrage
from keyring.errors import KeyringError

from archiver.confidential import check_recipients
from archiver.config import Settings, state_folder
from archiver.errors import ArchiverError, EnvironmentUnfit, ExitCode, UsageError

PASSPHRASE_VARIABLE = "ARCHIVER_SESSION_PASSPHRASE"  # noqa: S105  # a name, no secret
KEYRING_SERVICE = "archiver"
KEYRING_NAME = "sessions"
MAX_STATE_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Ask = Callable[[], str]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Args:
        name: As given.
        url: Where the login began.
        made_at: RFC 3339, UTC.
        state: Cookies and local storage in Playwright's own form (``storageState``).
    """

    name: str
    url: str
    made_at: str
    state: dict[str, Any]


class SessionLocked(ArchiverError):
    """A session cannot be opened with what is at hand."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Kept:
    """A session as a listing shows it, without opening it."""

    name: str
    kept_at: str
    key: str


def check_name(name: str) -> str:
    """Return *name* if a session may have it.

    Raises:
        UsageError: E141.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"session {ascii(name)[:80]}: expected 1 to 64 of A-Z a-z 0-9 . _ -, got another name",
            code="E141",
            hint="choose a plain name, such as faces-2026",
        )
    return name


def save(session: Session, ask: Ask | None = None) -> Path:
    """Encrypt and keep *session*; one of the same name is replaced.

    Args:
        session: To keep.
        ask: Asks a person for a passphrase, where neither the variable nor a keyring is there.

    Raises:
        EnvironmentUnfit: E142 without passphrase and keyring; E143 for a folder that cannot be written.
    """
    path = _path(session.name)
    data = msgspec.json.encode(session)
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    identity = None if passphrase else _keyring_identity(make=True)
    if not passphrase and identity is None:
        passphrase = ask() if ask else ""
    if passphrase:
        secret = pyrage.passphrase.encrypt(data, passphrase)
    elif identity is not None:
        secret = pyrage.encrypt(data, [identity.to_public()])
    else:
        raise EnvironmentUnfit(
            f"session {session.name}: not kept: expected a passphrase or a keyring, got neither",
            code="E142",
            hint=f"set {PASSPHRASE_VARIABLE}, or unlock the keyring of this account",
        )
    _write(path, secret)
    return path


def load(name: str, ask: Ask | None = None) -> Session:
    """Open a kept session.

    Raises:
        UsageError: E144, there is none of this name.
        SessionLocked: E145, it does not open with what is at hand.
    """
    path = _path(check_name(name))
    try:
        secret = path.read_bytes()
    except OSError as error:
        known = ", ".join(one.name for one in kept()) or "none"
        raise UsageError(
            f"session {name}: expected one that is kept ({known}), got {error.strerror}",
            code="E144",
            hint=f"make it: `archiver session new {name} URL`",
        ) from error
    try:
        return msgspec.json.decode(_decrypted(secret, ask), type=Session)
    except (pyrage.DecryptError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SessionLocked(
            f"session {name}: cannot be opened: expected its passphrase or its key, got another or none",
            code="E145",
            hint=f"set {PASSPHRASE_VARIABLE}, unlock the keyring, or make the session anew",
        ) from error


def check_use(settings: Settings, names: Iterable[str]) -> None:
    """Make sure before a run that every session in *names* can be used; empty names stand for none.

    Raises:
        UsageError: E149, nobody is named who may open the originals; E144, no such session.
        SessionLocked: E145, it does not open.
    """
    for name in sorted({*names} - {""}):
        if not (settings.recipients or settings.session_recipients):
            raise UsageError(
                f"session {name}: expected somebody who may open the originals, got nobody",
                code="E149",
                hint="set `session_recipients` to age public keys; without a login use no session",
            )
        check_recipients(settings.session_recipients)
        load(name)


def kept() -> list[Kept]:
    """List what is kept, by name."""
    return [
        Kept(
            name=path.stem,
            kept_at=datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
            key="passphrase" if _needs_passphrase(path.read_bytes()) else "keyring",
        )
        for path in sorted(_folder().glob("*.age"))
    ]


def remove(name: str) -> None:
    """Delete a kept session.

    Raises:
        UsageError: E144, there is none of this name.
    """
    try:
        _path(check_name(name)).unlink()
    except OSError as error:
        raise UsageError(
            f"session {name}: expected one that is kept, got {error.strerror}",
            code="E144",
            hint="see `archiver session list`",
        ) from error


def _folder() -> Path:
    return state_folder() / "sessions"


def _path(name: str) -> Path:
    return _folder() / f"{check_name(name)}.age"


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError as error:
        raise EnvironmentUnfit(
            f"session {path.stem}: not kept: expected a folder that can be written, got {error.strerror}",
            code="E143",
            hint="set XDG_STATE_HOME to a folder of your own",
        ) from error


def _decrypted(secret: bytes, ask: Ask | None) -> bytes:
    if not _needs_passphrase(secret):
        identity = _keyring_identity(make=False)
        return bytes(pyrage.decrypt(secret, [identity] if identity else []))
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "") or (ask() if ask else "")
    return bytes(pyrage.passphrase.decrypt(secret, passphrase))


def _needs_passphrase(secret: bytes) -> bool:
    return b"\n-> scrypt " in secret[:200]


def _keyring_identity(*, make: bool) -> Any:
    """The key that the keyring holds, made at first use; None without a keyring."""
    try:
        text = keyring.get_password(KEYRING_SERVICE, KEYRING_NAME)
        if text is None and make:
            text = str(pyrage.x25519.Identity.generate())
            keyring.set_password(KEYRING_SERVICE, KEYRING_NAME, text)
        return pyrage.x25519.Identity.from_str(text) if text else None
    except (KeyringError, pyrage.IdentityError):
        return None
