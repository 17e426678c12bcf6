"""Keys, trust file and log of this installation, put together for whoever seals.

Below ``$XDG_CONFIG_HOME/archiver``: ``keys/record`` signs evidence records, ``keys/log-<store id>`` the
custody log of one store (every writer of that log holds the same file), ``trust.toml`` says what verdicts
may rest on. Key files are encrypted; the passphrase comes from ``ARCHIVER_KEY_PASSPHRASE``, from the file
that the setting ``key_passphrase_file`` names, or from a prompt, and never from an argument.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from archiver.config import Settings, config_folder, state_folder, trust_path
from archiver.custody import StoreLog
from archiver.errors import EnvironmentUnfit, UsageError
from archiver.sealing import Sealer
from archiver.seen import SeenCheckpoints
from archiver.storing import STORE_KEY
from manifests.checkpoint import LogKey
from manifests.custody_log import CustodyLog
from manifests.keys import (
    AgentSigner,
    Signer,
    fingerprint,
    new_key,
    parse_public_line,
    public_line,
    read_key_file,
    unlock_key,
    write_key_file,
)
from manifests.trust import (
    MAX_TRUST_FILE_BYTES,
    Trust,
    TrustedAuthority,
    TrustedKey,
    TrustError,
    known_authorities,
    parse_trust,
    render_trust,
)
from storage.interface import Store

if TYPE_CHECKING:
    from archiver.certificate_signing import CertificateSigner

PASSPHRASE_VARIABLE = "ARCHIVER_KEY_PASSPHRASE"  # noqa: S105  the name of a variable, not a secret
CERTIFICATE_VARIABLE = "ARCHIVER_CERTIFICATE_PASSPHRASE"
MAX_STORE_FILE_BYTES = 4096
GRACE = timedelta(minutes=1)
"""A retired key stays good so long, because a token's time has an accuracy and a clock may be off."""

Ask = Callable[[], str]


class KeyLocked(EnvironmentUnfit):
    """There is a key, and nothing at hand that opens it."""


def key_path(settings: Settings) -> Path:
    """Where the signing key lies: a private key file, or the ``.pub`` file of a key in the ssh-agent."""
    return Path(settings.key) if settings.key else config_folder() / "keys" / "record"


def load_trust(path: Path) -> Trust:
    """Read a trust file.

    Raises:
        UsageError: E280, it cannot be read; E490, it is none.
    """
    try:
        with path.open("rb") as file:
            return parse_trust(file.read(MAX_TRUST_FILE_BYTES + 1))
    except TrustError as error:
        raise UsageError(error.message, code=error.code, hint=error.hint) from error
    except OSError as error:
        raise UsageError(
            f"trust file {path}: expected a readable file, got {error.strerror}",
            code="E280",
            hint="check the path; `archiver key new` makes one",
        ) from error


def save_trust(path: Path, trust: Trust) -> None:
    """Write a trust file whole, or leave the old one."""
    text = render_trust(trust)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise EnvironmentUnfit(
            f"trust file {path}: expected a folder that can be written, got {error.strerror}",
            code="E281",
            hint="set `trust` to a path of your own",
        ) from error


def make_key(settings: Settings, principal: str, passphrase: str) -> TrustedKey:
    """Make the signing key and enter it into the trust file, which begins with the authorities set.

    Raises:
        KeyUnusable: There is one already, or it cannot be written.
    """
    path = key_path(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = new_key(passphrase.encode())
    write_key_file(path, text)
    public = unlock_key(text, passphrase.encode()).public_key
    path.with_name(f"{path.name}.pub").write_text(public_line(public, principal) + "\n")
    key = TrustedKey(principal, public, valid_after=_now())
    where = trust_path(settings)
    trust = load_trust(where) if where.exists() else Trust(authorities=_authorities(settings.tsa))
    save_trust(where, replace(trust, keys=(*trust.keys, key)))
    return key


def rotate_key(settings: Settings, principal: str, passphrase: str) -> TrustedKey:
    """Put the signing key aside, end its period now, and make a new one in its place."""
    path = key_path(settings)
    old = parse_public_line(path.with_name(f"{path.name}.pub").read_text()) if path.exists() else b""
    if not old:
        raise UsageError(
            f"signing key {path}: expected one to rotate, got none",
            code="E282",
            hint="run `archiver key new`",
        )
    aside = path.with_name(f"{path.name}.{_now():%Y%m%d%H%M%S}")
    path.rename(aside)
    path.with_name(f"{path.name}.pub").rename(aside.with_name(f"{aside.name}.pub"))
    end_key(settings, fingerprint(old), revoked=False)
    return make_key(settings, principal, passphrase)


def end_key(settings: Settings, name: str, *, revoked: bool) -> TrustedKey:
    """End the period of the trusted key with that fingerprint: revoked now, or retired ``GRACE`` from now.

    Raises:
        UsageError: E283, no such key.
    """
    where = trust_path(settings)
    trust = load_trust(where)
    found = next((key for key in trust.keys if fingerprint(key.public_key).startswith(name)), None)
    if found is None or not name:
        raise UsageError(
            f"key {name[:60]!r}: expected the fingerprint of a trusted key, got another",
            code="E283",
            hint="run `archiver trust show`",
        )
    ended = replace(found, revoked_at=_now()) if revoked else replace(found, valid_before=_now() + GRACE)
    save_trust(where, replace(trust, keys=tuple(ended if key is found else key for key in trust.keys)))
    return ended


def open_signer(settings: Settings, ask: Ask | None) -> tuple[Signer, str] | None:
    """Open the signing key; None when there is none.

    Args:
        settings: Where it is.
        ask: Asks a person for the passphrase; None when nobody is there.

    Returns:
        The signer, and the passphrase (empty with an agent).

    Raises:
        KeyLocked: E284, nothing at hand opens it.
        KeyUnusable: It is broken, or the passphrase is another.
    """
    path = key_path(settings)
    if not path.exists():
        return None
    if path.suffix == ".pub":
        agent = os.environ.get("SSH_AUTH_SOCK", "")
        return AgentSigner(parse_public_line(path.read_text()), Path(agent)), ""
    text = read_key_file(path)
    passphrase = given_passphrase(settings) or (ask() if ask else "")
    if not passphrase:
        raise KeyLocked(
            f"signing key {path}: expected a passphrase, got none",
            code="E284",
            hint=f"set {PASSPHRASE_VARIABLE} or `key_passphrase_file`, or run in a terminal",
        )
    return unlock_key(text, passphrase.encode()), passphrase


def open_sealer(settings: Settings, store: Store, ask: Ask | None) -> Sealer | None:
    """Put together what sealing needs for *store*; None when this installation has no signing key.

    The log's own key is made at the first use of a store, and trusted by this installation's trust file.

    Raises:
        KeyLocked, KeyUnusable, UsageError: See ``open_signer`` and ``load_trust``.
        LogUnusable: The store cannot tell writers apart.
    """
    opened = open_signer(settings, ask)
    if opened is None:
        return None
    signer, passphrase = opened
    where = trust_path(settings)
    trust = load_trust(where)
    identity = store_identity(store)
    log_signer = _log_signer(settings, identity, passphrase) if passphrase else signer
    memory = SeenCheckpoints(seen_folder())
    log = CustodyLog(StoreLog(store), log_origin(identity), log_signer, memory=memory)
    if log.key not in trust.logs:
        trust = _trust_own_log(where, trust, log.key)
    staging = Path(settings.spool) / "sealing" / identity
    return Sealer(store, log, signer, trust, staging, settings.actor, open_certifier(settings))


def open_certifier(settings: Settings) -> CertificateSigner | None:
    """Open the organisation's certificate; its library takes a second to load, and few need it."""
    if not settings.certificate:
        return None
    from archiver.certificate_signing import open_certificate  # noqa: PLC0415  see the docstring

    return open_certificate(
        settings.certificate, _secret(CERTIFICATE_VARIABLE, settings.certificate_passphrase_file)
    )


def seen_folder() -> Path:
    """Return where this installation remembers checkpoints."""
    return state_folder() / "checkpoints"


def store_identity(store: Store) -> str:
    """The ID that the store got at its first use."""
    with store.open(STORE_KEY, length=MAX_STORE_FILE_BYTES) as file:
        data = file.read()
    try:
        identity: str = msgspec.json.decode(data, type=dict[str, str])["store_id"]
    except (msgspec.DecodeError, KeyError) as error:
        raise EnvironmentUnfit(
            f"store {store.url}: identity: expected {STORE_KEY} as we write it, got something else",
            code="E285",
            hint="check that --store names the store",
        ) from error
    return identity


def log_origin(identity: str) -> str:
    """The name of a store's custody log, as its checkpoints state it."""
    return f"archiver/{identity}"


def _log_signer(settings: Settings, identity: str, passphrase: str) -> Signer:
    path = key_path(settings).with_name(f"log-{identity}")
    if not path.exists():
        write_key_file(path, new_key(passphrase.encode()))
    return unlock_key(read_key_file(path), passphrase.encode())


def _trust_own_log(where: Path, trust: Trust, key: LogKey) -> Trust:
    stranger = next((log for log in trust.logs if log.origin == key.origin), None)
    if stranger is not None:
        raise UsageError(
            f"custody log {key.origin}: expected the key that the trust file names, got another",
            code="E286",
            hint="copy the log's key file from the machine that began this store",
        )
    trust = replace(trust, logs=(*trust.logs, key))
    save_trust(where, trust)
    return trust


def given_passphrase(settings: Settings) -> str:
    """The passphrase from the environment or its file, or empty."""
    return _secret(PASSPHRASE_VARIABLE, settings.key_passphrase_file)


def _secret(variable: str, file: str) -> str:
    if given := os.environ.get(variable):
        return given
    return read_key_file(Path(file)).decode("utf-8", "replace").rstrip("\n") if file else ""


def _authorities(names: tuple[str, ...]) -> tuple[TrustedAuthority, ...]:
    known = known_authorities()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"setting tsa: expected some of {', '.join(known)}, got {unknown[0][:40]!r}",
            code="E287",
            hint="add other authorities with `archiver trust add-tsa`",
        )
    return tuple(known[name] for name in names)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
