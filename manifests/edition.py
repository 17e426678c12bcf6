"""The list of an edition: what of a capture its maker left out, and what he put in its place.

A bundle for the public leaves out what would endanger a collector or open an account. The evidence record is
signed as it is and says of every file what its digest is, so the list can hide nothing: it can only say of
a listed file that it was left out on purpose. It is not signed, proves nothing, and makes nothing pass, since
whoever has taken files away can write such a list too. A verifier tells of each file that it did not see.

The file is ``edition.json`` beside ``record.json``. A file that is handed in later is put back under its
name and is then checked like any other; the list stays as it is.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from manifests.canonical import canonical_bytes, parse_canonical
from manifests.errors import MalformedJson, ManifestError
from manifests.record_process import Commitment
from manifests.record_types import Blake3, CaptureId, Count, Line, MediaType, Part, Path, Sha256, Text, Token

EDITION = "edition.json"
MAX_EDITION_BYTES = 16 * 1024 * 1024


class Withheld(Part, frozen=True, kw_only=True):
    """A file of the record that is not in the edition.

    Args:
        path: Its name, as the record lists it.
        sha256: As the record has it.
        reason: Why it was left out.
    """

    path: Path
    sha256: Sha256
    reason: Line


class Derivative(Part, frozen=True, kw_only=True):
    """A redacted copy, made later and not sealed.

    Args:
        id: Its own, ``<capture_id>.<first 12 digits of its SHA-256>``.
        path: Its name in the edition.
        media_type: Of the copy.
        bytes: Length.
        sha256: SHA-256.
        blake3: BLAKE3.
        source_path: File of the record that it was made from.
        source_sha256: As the record has it.
        rules: What was done to it, one sentence each.
    """

    id: Line
    path: Path
    media_type: MediaType
    bytes: Count
    sha256: Sha256
    blake3: Blake3
    source_path: Path
    source_sha256: Sha256
    rules: Annotated[tuple[Line, ...], Meta(min_length=1)]


class Removal(Part, frozen=True, kw_only=True):
    """One value that was taken out of a copy.

    Args:
        path: The copy.
        where: Place in it, such as ``cookie in the request head of https://...``.
        digest: SHA-256 over canonical JSON ``[salt, where, value]``, as in ``manifests.commitments``; of a
            body or a text the value is the SHA-256 of what it was.
    """

    path: Path
    where: Text
    digest: Sha256


class Edition(Part, frozen=True, kw_only=True):
    """What one edition of one capture leaves out.

    Args:
        format: Name and version of this format.
        audience: Who it was made for.
        capture_id: ID of the capture.
        record_sha256: SHA-256 of its evidence record.
        fields: Facts that the record fixes and nobody is told here; each as the record has it.
        withheld: Files of the record that are not here.
        derivatives: Redacted copies that are here instead.
        removals: What was taken out of the copies.
        remarks: What else is not here, in plain words.
    """

    format: Literal["evidence-edition/1"] = "evidence-edition/1"
    audience: Token
    capture_id: CaptureId
    record_sha256: Sha256
    fields: tuple[Commitment, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    derivatives: tuple[Derivative, ...] = ()
    removals: tuple[Removal, ...] = ()
    remarks: tuple[Line, ...] = ()


class EditionMalformed(ManifestError):
    """Bytes that are not the list of an edition."""


def encode_edition(edition: Edition) -> bytes:
    """Write the list as canonical JSON."""
    return canonical_bytes(msgspec.to_builtins(edition))


def parse_edition(data: bytes) -> Edition:
    """Read a list from its stored bytes.

    Raises:
        EditionMalformed: Not canonical JSON of this format with every field and no other.
    """
    try:
        edition = msgspec.convert(parse_canonical(data), Edition)
        if encode_edition(edition) != data:
            raise EditionMalformed("edition: expected every field, got some absent", code="E331")
    except MalformedJson as error:
        raise EditionMalformed(f"edition: {error.message}", code="E331") from error
    except msgspec.ValidationError as error:
        raise EditionMalformed(f"edition: {error}", code="E331") from error
    return edition
