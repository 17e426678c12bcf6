"""Checkpoints: the signed statement of a log's size and root, as C2SP signed notes under Ed25519.

::

    example.org/evidence
    7
    base64 of the 32-byte root

    — example.org/evidence base64(key ID, 4 bytes || signature, 64 bytes)

No time and no extension line stands in a checkpoint, so every writer that signs a size writes the same bytes.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from manifests.findings import Code
from manifests.keys import Signer, verifies
from manifests.proof import ProofError

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURE_LINES = 16
MAX_ORIGIN_CHARS = 200
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class LogKey:
    """The name of a log and the key its checkpoints are signed with.

    Args:
        origin: First line of its checkpoints, and its key's name.
        public_key: 32 bytes, Ed25519.
    """

    origin: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that mark the key's signatures."""
        return hashlib.sha256(self.origin.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    @property
    def verifier_key(self) -> str:
        """``name+hex key ID+base64(type || key)``, the form Go's ``note`` package reads."""
        return f"{self.origin}+{self.key_id.hex()}+{_base64(_ED25519 + self.public_key)}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and root, with the signed note they were read from.

    Args:
        origin: The log's name.
        size: Number of entries.
        root: 32 bytes, RFC 6962 tree hash of the entries.
        note: The exact bytes, signatures included.
    """

    origin: str
    size: int
    root: bytes
    note: bytes


def parse_verifier_key(text: str) -> LogKey:
    """Read a verifier key.

    Raises:
        ProofError: ``log-checkpoint-malformed``: not one, not Ed25519, or its key ID does not fit.
    """
    origin, _, rest = text.partition("+")
    encoded = rest.partition("+")[2]
    raw = unbase64(encoded)
    key = LogKey(origin, raw[1:]) if raw else None
    if key is None or not _is_origin(origin) or len(raw) != 33 or key.verifier_key != text:
        subject = f"log key {origin}"
        raise ProofError(Code.LOG_CHECKPOINT_MALFORMED, subject, "name+id+base64 of Ed25519", "another")
    return key


def sign_checkpoint(origin: str, size: int, root: bytes, signer: Signer) -> Checkpoint:
    """Make the checkpoint of *size* entries with *root*. Raises ``KeyUnusable``."""
    body = f"{origin}\n{size}\n{_base64(root)}\n".encode()
    key = LogKey(origin, signer.public_key)
    line = f"\n— {origin} {_base64(key.key_id + signer.sign(body))}\n".encode()
    return Checkpoint(origin, size, root, body + line)


def open_checkpoint(note: bytes, key: LogKey) -> Checkpoint:
    """Read *note* and verify that *key* signed it.

    1. ``open_note``: a signature line of the key is there and verifies.
    2. The text is exactly origin, size and root, and the origin is the key's name.

    Raises:
        ProofError: ``log-checkpoint-malformed`` or ``log-checkpoint-signature-wrong``.
    """
    checkpoint = _parse_text(open_note(note, key), note)
    if checkpoint.origin != key.origin:
        raise ProofError(Code.LOG_CHECKPOINT_SIGNATURE, "checkpoint origin", key.origin, checkpoint.origin)
    return checkpoint


def parse_note(note: bytes) -> Checkpoint:
    """Read *note* without verifying who signed it: to choose what to copy, never to believe it.

    Raises:
        ProofError: ``log-checkpoint-malformed``.
    """
    return _parse_text(_split_note(note)[0], note)


def _parse_text(text: str, note: bytes) -> Checkpoint:
    lines = text[:-1].split("\n")
    root = unbase64(lines[2]) if len(lines) == 3 else b""
    if len(lines) != 3 or len(root) != 32 or not _SIZE.fullmatch(lines[1]):
        raise _malformed("origin, size and root", "another text")
    return Checkpoint(lines[0], int(lines[1]), root, note)


def open_note(note: bytes, key: LogKey) -> str:
    """The text of a signed note that *key* signed.

    UTF-8 without control characters; at most 16 signature lines. Every line of the key must verify, and
    one must be there; lines of other keys are ignored, as the note specification demands.

    Raises:
        ProofError: ``log-checkpoint-malformed`` or ``log-checkpoint-signature-wrong``.
    """
    body, signatures = _split_note(note)
    ours = [value for name, value in signatures if name == key.origin and value[:4] == key.key_id]
    if not ours or not all(verifies(key.public_key, value[4:], body.encode()) for value in ours):
        subject = f"checkpoint of {key.origin}"
        raise ProofError(Code.LOG_CHECKPOINT_SIGNATURE, subject, "one by its key", "none or a wrong one")
    return body


def claimed_origin(note: bytes) -> str:
    """The origin a note names, before anything is verified: only to choose the key to verify with."""
    return note[: MAX_ORIGIN_CHARS * 4].split(b"\n", 1)[0].decode("utf-8", errors="replace")


def _split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise _malformed(f"at most {MAX_NOTE_BYTES} bytes", f"{len(note)} bytes")
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("UTF-8", "other bytes") from error
    if any(c < " " and c != "\n" for c in text):
        raise _malformed("no control characters", "one")
    body, blank, tail = text.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise _malformed("a text, a blank line and signature lines", "another form")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURE_LINES:
        raise _malformed(f"at most {MAX_SIGNATURE_LINES} signature lines", str(len(lines)))
    return body + "\n", [_signature_line(line) for line in lines]


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    value = unbase64(encoded)
    if dash != "—" or not _is_origin(name) or len(value) < 5:
        raise _malformed("em dash, name and base64 signature", "another line")
    return name, value


def _is_origin(name: str) -> bool:
    return 0 < len(name) <= MAX_ORIGIN_CHARS and "+" not in name and not any(c.isspace() for c in name)


def _malformed(expected: str, got: str) -> ProofError:
    return ProofError(Code.LOG_CHECKPOINT_MALFORMED, "checkpoint", expected, got)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unbase64(text: str) -> bytes:
    """Decode canonical base64 (RFC 4648 section 4); empty when *text* is anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _base64(data) == text else b""
