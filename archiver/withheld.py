"""The two forms of a capture behind a login: the original, encrypted, and what is stored in clear.

The original is everything as it was: the WARC, the transcript with its TLS secrets, the exhibits that hold a
secret, and the salts that open what was taken out. Each file is encrypted with age to ``session_recipients``
and opens with ``age -d``. In clear go the redacted package and the exhibits that hold no known secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from email import policy
from email.parser import BytesParser
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyrage

from archiver.capture.recorder.decode import DecodeLimits, decode
from archiver.capture.recorder.exchange import Exchange
from archiver.confidential import check_recipients
from archiver.errors import EnvironmentUnfit
from archiver.redaction import Removal, Secrets, redact
from archiver.spool import Spool
from manifests.commitments import commit

SEALED_ROLE = "sealed-original"
REDACTIONS_NAME = "redactions.json"
REDACTIONS_ROLE = "redactions"
MAX_MHTML_BYTES = 256 * 1024 * 1024
_TEXTS = frozenset({"dom", "text"})
_PICTURES = frozenset({"screenshot-viewport", "screenshot-before", "screenshot-full", "pdf"})


def seal_original(path: Path, out: Path, recipients: Sequence[str]) -> None:
    """Encrypt *path* into *out* and delete it.

    Raises:
        EnvironmentUnfit: E148, the disk took no more.
    """
    try:
        with path.open("rb") as plain, out.open("wb") as secret:
            pyrage.encrypt_io(plain, secret, check_recipients(recipients))
        path.unlink()
    except (OSError, pyrage.EncryptError) as error:
        raise EnvironmentUnfit(
            f"original {path.name}: cannot be encrypted: expected room on the disk, got {error}",
            code="E148",
            hint="free space and run it again: the capture is kept and completed then",
        ) from error


def clear_form(role: str, data: bytes, secrets: Secrets, *, told_on_page: bool) -> bytes | None:
    """Return an exhibit as it may be stored in clear; None when it may not be stored so at all.

    Args:
        role: Of the exhibit.
        data: Its bytes.
        secrets: What must not be in it.
        told_on_page: The visible text holds a secret, and so do all pictures of the page.
    """
    if role in _TEXTS:
        return secrets.scrub(data)
    if role in _PICTURES and told_on_page:
        return None
    parts = _parts_of_mhtml(data) if role == "mhtml" else ()
    return None if any(secrets.are_in(one) for one in (data, *parts)) else data


def _parts_of_mhtml(data: bytes) -> Iterable[bytes]:
    """Yield the parts of an MHTML file with their transfer encoding undone."""
    for part in BytesParser(policy=policy.compat32).parsebytes(data[:MAX_MHTML_BYTES]).walk():
        if not part.is_multipart():
            decoded = part.get_payload(decode=True)
            if isinstance(decoded, bytes):
                yield decoded


def account_of(removals: Sequence[Removal]) -> tuple[bytes, bytes]:
    """Return what is said in clear of what was taken out, and the salts and values that open it.

    Every removal is fixed by a salted digest (``manifests.commitments``), so that a holder of the original
    can show later what stood there, and nobody else can guess it.
    """
    pairs = [commit(one.where, one.value) for one in removals]
    told: dict[str, Any] = {
        "format": "redactions/1",
        "digest": "SHA-256 over the canonical JSON [salt, where, value]; of a body the value is its SHA-256",
        "removed": [
            {"where": one.where, "digest": made.digest}
            for one, (made, _) in zip(removals, pairs, strict=True)
        ],
    }
    openings = [asdict(opening) for _, opening in pairs]
    return msgspec.json.encode(told), msgspec.json.encode({"format": "redactions/1", "openings": openings})


class Withholding:
    """What packing does besides for one capture behind a login.

    Args:
        spool: Of the capture.
        recipients: At least one.
    """

    def __init__(self, spool: Spool, recipients: Sequence[str]) -> None:
        self.secrets = Secrets()
        self.alterations: list[str] = []
        self.sealed: list[str] = []
        self._spool = spool
        self._recipients = tuple(recipients)
        self._removals: list[Removal] = []
        self._told_on_page = False

    def learn(self) -> None:
        """Learn the secrets: of the session as it was and as it became, and what the wire shows."""
        self.secrets.add(self._spool.read_secrets())

        def take(exchange: Exchange) -> None:
            self.secrets.learn(exchange)
            for body in (exchange.request_body, exchange.response_body):
                if body is not None:
                    body.file.close()

        decode(self._spool.wire, self._spool.keys, take, DecodeLimits())
        text = self._spool.exhibits / "text.txt"
        self._told_on_page = text.exists() and self.secrets.are_in(text.read_bytes())

    def redact(self, exchange: Exchange) -> Exchange:
        """Return what of an exchange may be stored in clear, and remember what may not."""
        clear, removed = redact(exchange, self.secrets)
        self._removals += removed
        return clear

    def exhibit(self, role: str, path: Path) -> bool:
        """Bring an exhibit into the form that may be stored in clear; False when there is none."""
        data = path.read_bytes()
        clear = clear_form(role, data, self.secrets, told_on_page=self._told_on_page)
        if clear == data:
            return True
        self.seal(path)
        if clear is None:
            self.alterations.append(
                f"{path.name} holds a secret of the login: it is in the sealed original alone"
            )
            return False
        path.write_bytes(clear)
        self._removals.append(Removal(f"texts in {path.name}", sha256(data).hexdigest()))
        self.alterations.append(
            f"{path.name}: secrets of the login are blackened; whole in the sealed original"
        )
        return True

    def seal(self, path: Path) -> None:
        """Put a file into the sealed original; it is no longer there in clear."""
        name = f"sealed-{path.name}.age"
        seal_original(path, self._spool.out / name, self._recipients)
        self.sealed.append(name)

    def finish(self) -> None:
        """Write what is said in clear of the removals, and seal what opens them."""
        told, openings = account_of(self._removals)
        (self._spool.out / REDACTIONS_NAME).write_bytes(told)
        path = self._spool.folder / "openings.json"
        path.write_bytes(openings)
        self.seal(path)
        self.alterations.append(
            f"made behind a login: capture.wacz is redacted, {len(self._removals)} removals are listed in "
            f"{REDACTIONS_NAME}; the originals are encrypted to {len(self._recipients)} recipients"
        )
