"""Salted commitments: a fact is fixed in the record now and opened, if ever, before a judge.

The digest is SHA-256 over the canonical JSON ``[salt, name, value]``. The salt, 256 random bits in hex,
hides the value: names and addresses are few enough to be guessed one by one. The name is under the
digest too, so that an opening cannot be passed off as that of another fact.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

import msgspec

from manifests.canonical import canonical_bytes
from manifests.errors import ManifestError, VerificationError
from manifests.record_process import Commitment

SALT_BYTES = 32
MAX_OPENINGS_BYTES = 64 * 1024
_SALT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a commitment; kept apart from the record, sealed.

    Args:
        name: Which fact.
        salt: 64 characters of lower-case hex.
        value: The fact.
    """

    name: str
    salt: str
    value: str


def commit(name: str, value: str) -> tuple[Commitment, Opening]:
    """Fix *value* under *name* with a fresh salt."""
    opening = Opening(name, secrets.token_hex(SALT_BYTES), value)
    return commitment_of(opening), opening


def commitment_of(opening: Opening) -> Commitment:
    """Return what fixes the fact of *opening* under its salt."""
    return Commitment(name=opening.name, digest=_digest(opening))


def open_commitment(commitment: Commitment, opening: Opening) -> str:
    """Show that *opening* is what *commitment* fixed, and return the value.

    Raises:
        VerificationError: It is not (E390).
    """
    fits = opening.name == commitment.name and _SALT.fullmatch(opening.salt) is not None
    if not fits or not hmac.compare_digest(_digest(opening), commitment.digest):
        raise VerificationError(
            f"commitment {commitment.name}: opening failed: expected what {commitment.digest} fixes, "
            f"got another salt, name or value",
            code="E390",
            hint="take the opening from the annex of this very capture",
        )
    return opening.value


def parse_openings(data: bytes) -> tuple[str, tuple[Opening, ...]]:
    """Read what ``archiver annex open --json`` printed: the capture's ID, and its opened facts.

    Raises:
        OpeningsMalformed: It is something else.
    """
    try:
        found = msgspec.json.decode(data[: MAX_OPENINGS_BYTES + 1], type=_Opened)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OpeningsMalformed(
            f"opened facts: expected capture_id and openings, got something else: {error}",
            code="E391",
            hint="give the output of `archiver annex open --json`",
        ) from error
    return found.capture_id, tuple(found.openings)


class OpeningsMalformed(ManifestError):
    """Bytes that are not opened facts."""


class _Opened(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    capture_id: str
    openings: list[Opening]


def _digest(opening: Opening) -> str:
    return hashlib.sha256(canonical_bytes([opening.salt, opening.name, opening.value])).hexdigest()
