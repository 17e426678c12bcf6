"""One WARC record as its bytes stream past: header, block with its digests, and the end.

Source: ISO 28500:2017 (WARC 1.1), sections 4 and 5.
"""

from __future__ import annotations

import base64
import hashlib
import re

from manifests.findings import Code
from manifests.http_payload import PayloadDigester
from manifests.proof import ProofError

KIB = 1024
MAX_HEADER_BYTES = 4 * 1024 * KIB
MAX_BLOCK_BYTES = 64 * KIB * KIB * KIB
VERSION = b"WARC/1.1"
TYPES = frozenset({"warcinfo", "response", "request", "resource", "metadata", "revisit"})
REPEATABLE = frozenset({"warc-protocol", "warc-concurrent-to"})
REQUIRED = ("warc-type", "warc-record-id", "warc-date", "content-length", "warc-block-digest")
END = b"\r\n\r\n"

_FIELD = re.compile(rb"([A-Za-z0-9-]+): ([\x20-\x7e]*)")
_RECORD_ID = re.compile(r"<urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}>")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,14}")


class RecordParser:
    """Takes one unpacked record in pieces; ``end`` checks that it was one, and whole.

    Args:
        subject: What it is, for the findings.
    """

    def __init__(self, subject: str) -> None:
        self.fields: dict[str, str] = {}
        self.concurrent_to: list[str] = []
        self.block_sha256 = ""
        self.payload_digests: frozenset[str] | None = None
        self._subject = subject
        self._head = bytearray()
        self._tail = bytearray()
        self._left = 0
        self._block = hashlib.sha256()
        self._payload: PayloadDigester | None = None

    @property
    def kind(self) -> str:
        """``WARC-Type``."""
        return self.fields["warc-type"]

    @property
    def block_bytes(self) -> int:
        """Length of the block."""
        return int(self.fields["content-length"])

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            ProofError: It is no record, or goes on after its end.
        """
        if self.fields:
            self._feed_block(memoryview(piece))
            return
        searched = max(0, len(self._head) - 3)
        self._head += piece
        at = self._head.find(END, searched)
        if (len(self._head) if at < 0 else at) > MAX_HEADER_BYTES:
            raise self._wrong(Code.WARC_TOO_LARGE, f"{MAX_HEADER_BYTES} bytes of header", "more")
        if at < 0:
            return
        rest = bytes(self._head[at + len(END) :])
        self._read_header(bytes(self._head[:at]))
        self._head.clear()
        self._feed_block(memoryview(rest))

    def end(self) -> None:
        """Take the end of the gzip member: check the end of the record and its digests.

        Raises:
            ProofError: ``warc-truncated``, ``warc-block-digest-mismatch`` and others.
        """
        if not self.fields or self._left:
            raise self._wrong(Code.WARC_TRUNCATED, f"{self._left} more bytes of the record", "its end")
        if self._tail != END:
            raise self._wrong(
                Code.WARC_MEMBER_NOT_ONE_RECORD, END.hex(), bytes(self._tail).hex() or "nothing"
            )
        self.block_sha256 = self._block.hexdigest()
        if self._digest_field("warc-block-digest") != self.block_sha256:
            raise self._wrong(
                Code.WARC_BLOCK_DIGEST_MISMATCH,
                self.fields["warc-block-digest"],
                f"sha256 {self.block_sha256}",
            )
        self._check_payload()

    def _check_payload(self) -> None:
        stated = self.fields.get("warc-payload-digest", "")
        if self.kind == "resource" and not stated:
            raise self._wrong(Code.WARC_DIGEST_MISSING, "WARC-Payload-Digest", "none")
        self.payload_digests = frozenset({stated})
        # A revisit states the digest of the payload that it leaves out.
        if self.kind == "revisit":
            return
        allowed, undetermined = {self.block_sha256}, False
        if self._payload is not None:
            self._payload.end(self.block_sha256)
            allowed, undetermined = self._payload.candidates, self._payload.undetermined
        if not stated:
            self.payload_digests = None if undetermined else frozenset({"", *map(_digest_text, allowed)})
        elif (digest := self._digest_field("warc-payload-digest")) not in allowed and not undetermined:
            raise self._wrong(Code.WARC_PAYLOAD_DIGEST_MISMATCH, digest, " or ".join(sorted(allowed)))

    def _feed_block(self, piece: memoryview) -> None:
        block = piece[: self._left]
        if block:
            self._left -= len(block)
            self._block.update(block)
            if self._payload is not None:
                self._payload.feed(block)
        self._tail += piece[len(block) :]
        if len(self._tail) > len(END):
            raise self._wrong(Code.WARC_MEMBER_NOT_ONE_RECORD, "the end of the member", "more bytes")

    def _read_header(self, head: bytes) -> None:
        version, *lines = head.split(b"\r\n")
        if version != VERSION:
            raise self._wrong(Code.WARC_MALFORMED, VERSION.decode(), repr(version[:40]))
        fields: dict[str, str] = {}
        for line in lines:
            found = _FIELD.fullmatch(line)
            if found is None:
                raise self._wrong(Code.WARC_MALFORMED, "a header field in printable ASCII", repr(line[:80]))
            name, value = found[1].decode().lower(), found[2].decode()
            if name in fields and name not in REPEATABLE:
                raise self._wrong(Code.WARC_MALFORMED, f"one field {name}", "two")
            if name == "warc-concurrent-to":
                self.concurrent_to.append(value)
            fields[name] = value
        self._check_fields(fields)
        self.fields = fields
        self._left = self.block_bytes
        if fields.get("content-type", "").partition(";")[0] == "application/http":
            self._payload = PayloadDigester()

    def _check_fields(self, fields: dict[str, str]) -> None:
        for name in REQUIRED:
            if name not in fields:
                code = Code.WARC_DIGEST_MISSING if name == "warc-block-digest" else Code.WARC_MALFORMED
                raise self._wrong(code, f"a field {name}", "none")
        if fields["warc-type"] not in TYPES:
            raise self._wrong(Code.WARC_RECORD_TYPE, ", ".join(sorted(TYPES)), fields["warc-type"])
        forms = (("warc-record-id", _RECORD_ID), ("warc-date", _DATE), ("content-length", _LENGTH))
        for name, form in forms:
            if not form.fullmatch(fields[name]):
                raise self._wrong(Code.WARC_MALFORMED, f"{name} as the standard has it", fields[name])
        if int(fields["content-length"]) > MAX_BLOCK_BYTES:
            raise self._wrong(Code.WARC_TOO_LARGE, f"{MAX_BLOCK_BYTES} bytes", fields["content-length"])
        if fields["warc-type"] != "warcinfo" and not fields.get("warc-target-uri"):
            raise self._wrong(Code.WARC_MALFORMED, "a field warc-target-uri", "none")

    def _digest_field(self, name: str) -> str:
        """Hex SHA-256 of a digest field, written ``sha256:`` and base32 (section 5.8)."""
        label, _, value = self.fields[name].partition(":")
        try:
            digest = base64.b32decode(value)
        except ValueError:
            digest = b""
        if label != "sha256" or len(digest) != 32:
            raise self._wrong(Code.WARC_MALFORMED, f"{name} in sha256, base32", self.fields[name])
        return digest.hex()

    def _wrong(self, code: Code, expected: str, got: str) -> ProofError:
        return ProofError(code, self._subject, expected, got)


def _digest_text(sha256: str) -> str:
    return f"sha256:{base64.b32encode(bytes.fromhex(sha256)).decode()}"
