"""Who and what made a capture: fixed in its record by salted commitments, told in an annex that few can open.

Names and addresses of people who collect evidence endanger them; a court may want them all the same. So the
record holds only digests (``manifests.commitments``), and the values with their salts go, encrypted with age,
to ``keys/<capture_id>/annex.age``, outside the capture: the annex is not exported with it, is not in the log,
and can be destroyed, where retention lets it, without harm to the evidence.

It is encrypted to ``keys/annex.pub`` in the configuration folder, which ``archiver key new`` makes, and to
the setting ``annex_recipients``. The secret key ``keys/annex`` is encrypted with the signing
key's passphrase; it may be moved to another machine, since capturing needs only the public one. Without any
key nothing is fixed, and no name is recorded in plain instead.
"""

from __future__ import annotations

import base64
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyrage

from archiver.confidential import check_recipients
from archiver.config import Settings
from archiver.custodian import key_path
from archiver.errors import ArchiverError, EnvironmentUnfit, ExitCode, UsageError
from manifests.commitments import Opening, commit, open_commitment
from manifests.errors import VerificationError
from manifests.record import EvidenceRecord
from manifests.record_process import Commitment

MAX_ANNEX_BYTES = 64 * 1024
MAX_FACT_CHARS = 4_096
_NOWHERE = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737); nothing is sent to it."""


class Annex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is encrypted.

    Args:
        format: Version of this form.
        openings: Name, salt and value of each fact.
    """

    format: Literal["identity-annex/1"] = "identity-annex/1"
    openings: list[Opening]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Facts as they go into a capture.

    Args:
        commitments: For the record.
        annex: The encrypted openings; empty without commitments.
    """

    commitments: tuple[Commitment, ...] = ()
    annex: bytes = b""


class AnnexUnusable(ArchiverError):
    """An annex does not open, or to something else than the record fixes."""

    exit_code = ExitCode.EVIDENCE_FAILED


def annex_key_path(settings: Settings) -> Path:
    """Where the secret key of annexes lies; the public one beside it ends in ``.pub``."""
    return key_path(settings).with_name("annex")


def make_annex_key(settings: Settings, passphrase: str) -> None:
    """Make the key that annexes are encrypted to, unless there is one.

    Raises:
        EnvironmentUnfit: E188, it cannot be written.
    """
    path = annex_key_path(settings)
    public = path.with_name(f"{path.name}.pub")
    if public.exists():
        return
    identity = pyrage.x25519.Identity.generate()
    secret = pyrage.passphrase.encrypt(str(identity).encode(), passphrase)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        public.write_text(f"{identity.to_public()}\n")
    except OSError as error:
        raise EnvironmentUnfit(
            f"annex key {path}: expected a folder that can be written, got {error.strerror}",
            code="E188",
            hint="set `key` to a path of your own",
        ) from error


def annex_recipients(settings: Settings) -> tuple[str, ...]:
    """The public keys that annexes of this installation are encrypted to."""
    path = annex_key_path(settings)
    public = path.with_name(f"{path.name}.pub")
    own = [public.read_text().strip()] if public.exists() else []
    return (*own, *settings.annex_recipients)


def unfixed(settings: Settings) -> list[str]:
    """What a person should know before a run about facts that are set and will not be fixed."""
    recipients = annex_recipients(settings)
    check_recipients(recipients)
    if (settings.operator or settings.access_ip) and not recipients:
        return ["operator and access address are not recorded: there is no annex key (`archiver key new`)"]
    return []


def fix(settings: Settings, session: str = "", browser_path: str = "") -> Fixed:
    """Commit to who and what makes a capture, with fresh salts."""
    recipients = annex_recipients(settings)
    if not recipients:
        return Fixed()
    pairs = [
        commit(name, value[:MAX_FACT_CHARS])
        for name, value in _facts(settings, session, browser_path).items()
        if value
    ]
    data = msgspec.json.encode(Annex(openings=[opening for _, opening in pairs]))
    annex = bytes(pyrage.encrypt(data, check_recipients(recipients)))
    return Fixed(tuple(commitment for commitment, _ in pairs), annex)


def fixed_parts(settings: Settings, session: str = "", browser_path: str = "") -> dict[str, Any]:
    """The same as parts of a capture's request, whose annex is in Base64."""
    fixed = fix(settings, session, browser_path)
    return {
        "commitments": msgspec.to_builtins(fixed.commitments),
        "annex": base64.b64encode(fixed.annex).decode(),
    }


def _facts(settings: Settings, session: str, browser_path: str) -> dict[str, str]:
    return {
        "collector.operator": settings.operator,
        "machine.host_name": socket.gethostname(),
        "machine.local_address": _local_address(),
        "vantage.access_ip": settings.access_ip,
        "environment.login_session": session,
        "environment.browser_path": browser_path,
    }


def _local_address() -> str:
    """The address that this machine sends from, or empty without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
        except OSError:
            return ""
        name: tuple[str, int] = probe.getsockname()
        return name[0]


def own_identities(settings: Settings, passphrase: str) -> list[Any]:
    """Open the secret annex key of this installation.

    Raises:
        UsageError: E189, there is none, or the passphrase is another.
    """
    path = annex_key_path(settings)
    try:
        secret = pyrage.passphrase.decrypt(path.read_bytes(), passphrase)
        return [pyrage.x25519.Identity.from_str(secret.decode("ascii"))]
    except (OSError, ValueError, pyrage.DecryptError, pyrage.IdentityError) as error:
        raise UsageError(
            f"annex key {path}: expected one that the passphrase opens, got {type(error).__name__}",
            code="E189",
            hint="give --identity FILE where the key was moved elsewhere",
        ) from error


def open_annex(record: EvidenceRecord, annex: bytes, identities: list[Any]) -> list[Opening]:
    """Decrypt an annex, and hold each fact to the record.

    Raises:
        AnnexUnusable: E193, none of the keys opens it, or it says something that the record does not fix.
    """
    try:
        openings = msgspec.json.decode(bytes(pyrage.decrypt(annex, identities)), type=Annex).openings
        by_name = {commitment.name: commitment for commitment in record.commitments}
        for opening in openings:
            open_commitment(by_name[opening.name], opening)
    except (pyrage.DecryptError, msgspec.DecodeError, KeyError, VerificationError) as error:
        reason = str(error) if isinstance(error, VerificationError) else type(error).__name__
        raise AnnexUnusable(
            f"capture {record.capture_id}: annex: expected facts that its record fixes, got {reason}",
            code="E193",
            hint="give the key that annexes were encrypted to when it was captured",
        ) from error
    return openings
