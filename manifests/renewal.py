"""Renewing a seal: fresh tokens over the digests of everything in it, while the old ones can be relied on.

A token is worth something while its authority's certificates are valid and its algorithms strong. Before that
ends, ``renewal-01.json`` is written and stamped; years later ``renewal-02.json``, and so on::

    {"files": {"record.json": SHA-512 in hex, "record.json.sig": ..., every file of the seal: ...},
     "format": "evidence-renewal/1"}

The new token shows that the old one lay there, with all that proves it, while it was still good. The
digests are SHA-512, so that a renewal also carries over from SHA-256 when that ages; the captured files
themselves are fixed in the record by SHA-256 and BLAKE3.

Source: the idea of RFC 4998 section 5.2, in files that a person can check with sha512sum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from manifests.canonical import canonical_bytes
from manifests.findings import Code
from manifests.proof import ProofError

FORMAT = "evidence-renewal/1"
MAX_RENEWALS = 99
_NAME = re.compile(r"renewal-(\d\d)\..+")


def renewal_name(number: int) -> str:
    """What the names of renewal *number*, from 1 on, begin with."""
    return f"renewal-{number:02d}"


def is_renewal(name: str) -> bool:
    """Whether a file of a seal belongs to a renewal."""
    return _NAME.fullmatch(name) is not None


def make_renewal(files: Mapping[str, bytes], record: bytes) -> tuple[int, bytes]:
    """The next renewal of a seal: its number, and the bytes of its file, which are to be stamped.

    Args:
        files: Everything in the seal, earlier renewals with their tokens among it.
        record: The record's bytes.
    """
    number = 1 + max((_number(name) for name in files), default=0)
    return number, _render(files, record)


def check_renewal(files: Mapping[str, bytes], record: bytes, number: int) -> None:
    """Check that renewal *number* is over the record and all that the seal held before it.

    Raises:
        ProofError: ``renewal-mismatch``.
    """
    earlier = {name: data for name, data in files.items() if _number(name) < number}
    name = f"{renewal_name(number)}.json"
    if files[name] != _render(earlier, record):
        raise ProofError(Code.RENEWAL_MISMATCH, name, "the digests of the files before it", "others")


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def _render(files: Mapping[str, bytes], record: bytes) -> bytes:
    everything = {**files, "record.json": record}
    digests = {name: hashlib.sha512(data).hexdigest() for name, data in everything.items()}
    return canonical_bytes({"files": digests, "format": FORMAT})
