"""OpenTimestamps for checkpoints, one a day: a second bound from above that rests on no authority. Network.

The proof file (``.ots``) is what every OpenTimestamps program reads and upgrades. Fresh from a calendar it is
*pending* and proves nothing; upgraded, it names a Bitcoin block, and proves what the block's header proves to
whoever has that header from a source they trust. This module makes and reads proofs and judges no block.

Source: the file format of opentimestamps.org, as its reference implementation writes it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from manifests.errors import ManifestError
from manifests.findings import shown
from manifests.http_fetch import FetchError, fetch

MAX_PROOF_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 10_000
MAX_MESSAGE_BYTES = 4096
MAX_STEPS = 4096
_MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
_SHA256, _APPEND, _PREPEND, _FORK, _ATTESTATION = 0x08, 0xF0, 0xF1, 0xFF, 0x00
_KINDS = {bytes.fromhex("83dfe30d2ef90c8e"): "pending", bytes.fromhex("0588960d73d71901"): "bitcoin"}


class CalendarUnavailable(ManifestError):
    """A calendar gave no proof."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"calendar {shown(url)}: {what}",
            code="E497",
            hint="the checkpoint is kept; anchor it tomorrow, or choose another calendar",
        )


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a proof ends in.

    Args:
        kind: ``pending``, ``bitcoin``, or ``other``.
        where: URL of the calendar, or height of the block.
        digest: What is attested; for Bitcoin the Merkle root in the header, in the header's byte order.
    """

    kind: str
    where: str
    digest: bytes


def anchor(data: bytes, calendar: str) -> bytes:
    """Have *calendar* promise to anchor the SHA-256 of *data*; returns the proof file, pending.

    A nonce keeps the digest of *data* from the calendar.

    Raises:
        CalendarUnavailable: No answer, or none that is a proof.
    """
    digest, nonce = hashlib.sha256(data).digest(), secrets.token_bytes(16)
    message = hashlib.sha256(digest + nonce).digest()
    url = calendar.rstrip("/") + "/digest"
    try:
        answer = fetch(url, message, "application/x-www-form-urlencoded", MAX_ANSWER_BYTES)
        steps = bytes([_APPEND, len(nonce)]) + nonce + bytes([_SHA256])
        proof = _MAGIC + bytes([1, _SHA256]) + digest + steps + answer
        read_proof(proof, data)
    except (FetchError, ValueError) as error:
        raise CalendarUnavailable(calendar, str(error)) from error
    return proof


def read_proof(proof: bytes, data: bytes) -> list[Attestation]:
    """What *proof* says of *data*.

    Raises:
        ValueError: It is no proof, or over other data.
    """
    if len(proof) > MAX_PROOF_BYTES:
        raise ValueError(f"proof: expected at most {MAX_PROOF_BYTES} bytes, got {len(proof)}")
    digest = hashlib.sha256(data).digest()
    if not proof.startswith(_MAGIC + bytes([1, _SHA256]) + digest):
        raise ValueError("proof: expected one over these bytes, got another")
    reader = _Reader(proof, len(_MAGIC) + 2 + len(digest))
    found = reader.attestations(digest)
    if reader.at != len(proof):
        raise ValueError("proof: expected an end, got more bytes")
    return found


class _Reader:
    """Follows the operations of a proof; forks wait on a list, so that no proof makes it recurse."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def attestations(self, message: bytes) -> list[Attestation]:
        found: list[Attestation] = []
        waiting: list[bytes] = []
        for _ in range(MAX_STEPS):
            tag = self.take(1)[0]
            if tag == _FORK:
                waiting.append(message)
            elif tag == _ATTESTATION:
                found.append(self._attestation(message))
                if not waiting:
                    return found
                message = waiting.pop()
            else:
                message = self._applied(tag, message)
        raise ValueError(f"proof: expected at most {MAX_STEPS} steps, got more")

    def _applied(self, tag: int, message: bytes) -> bytes:
        if tag == _SHA256:
            return hashlib.sha256(message).digest()
        if tag == _APPEND:
            result = message + self.take(self.number())
        elif tag == _PREPEND:
            result = self.take(self.number()) + message
        else:
            raise ValueError(f"proof: expected a known operation, got {tag:#04x}")
        if len(result) > MAX_MESSAGE_BYTES:
            raise ValueError(f"proof: expected messages of at most {MAX_MESSAGE_BYTES} bytes, got more")
        return result

    def _attestation(self, message: bytes) -> Attestation:
        kind = _KINDS.get(self.take(8), "other")
        payload = _Reader(self.take(self.number()), 0)
        if kind == "pending":
            return Attestation(kind, shown(payload.take(payload.number()).decode("utf-8")), message)
        return Attestation(kind, str(payload.number()) if kind == "bitcoin" else "", message)

    def number(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise ValueError("proof: expected a number, got one without end")

    def take(self, count: int) -> bytes:
        part = self._data[self.at : self.at + count]
        if len(part) != count:
            raise ValueError(f"proof: expected {count} bytes more, got {len(part)}")
        self.at += count
        return part
