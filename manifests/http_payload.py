"""The payload of an HTTP message as it stands in a WARC record: which digests it may rightly have.

Servers break the rules of framing, and browsers disagree about what they then read. So this does not
decide: it gives every digest that a fair reading allows, and says when no reading can be told.
"""

from __future__ import annotations

import hashlib
import re

KIB = 1024
MAX_HEAD_BYTES = 4 * 1024 * KIB
MAX_CHUNK_LINE_BYTES = 16 * KIB
MAX_TRAILER_BYTES = 256 * KIB

_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")


class PayloadDigester:
    """Takes the block of an HTTP record in pieces.

    After ``end``, *candidates* holds the hex SHA-256 values that its payload digest may state, and
    *undetermined* is True when chunk framing breaks off, so that another value cannot be called wrong.
    """

    def __init__(self) -> None:
        self.candidates: set[str] = set()
        self.undetermined = False
        self._head = bytearray()
        self._body = hashlib.sha256()
        self._in_body = False
        self._headless = False
        self._chunks: _Dechunker | None = None

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the block."""
        if self._in_body:
            self._feed_body(piece)
            return
        searched = max(0, len(self._head) - 2)
        self._head += piece
        found = _HEAD_END.search(self._head, searched)
        if found:
            self._begin_body(found.end())
        elif len(self._head) > MAX_HEAD_BYTES:
            self._begin_body(0)

    def end(self, block_sha256: str) -> None:
        """Take the end of the block, whose digest is *block_sha256*."""
        if not self._in_body or self._headless:
            self.candidates.add(block_sha256)
        self.candidates.add(self._body.hexdigest())
        if self._chunks is not None:
            self.candidates.add(self._chunks.sha256.hexdigest())
            self.undetermined = not self._chunks.whole

    def _begin_body(self, head_bytes: int) -> None:
        head = bytes(self._head[:head_bytes])
        body = bytes(self._head[head_bytes:])
        self._head.clear()
        self._in_body = True
        # An answer that is no HTTP is kept whole as a body under an empty head.
        self._headless = head[:4].lower() != b"http" and b" HTTP/" not in head.partition(b"\n")[0]
        lower = head.lower()
        if b"transfer-encoding" in lower and b"chunked" in lower:
            self._chunks = _Dechunker()
        self._feed_body(body)

    def _feed_body(self, piece: bytes | memoryview) -> None:
        self._body.update(piece)
        if self._chunks is not None:
            self._chunks.feed(piece)


class _Dechunker:
    """Digests the data of a chunked body (RFC 9112 section 7.1)."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self._line = bytearray()
        self._left = 0
        self._expect = "size"
        self._trailer_bytes = 0

    @property
    def whole(self) -> bool:
        """Whether the body ended as it should, with nothing after its end."""
        return self._expect == "nothing"

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the body, framing included."""
        at = 0
        data = bytes(piece)
        while at < len(data) and self._expect != "broken":
            if self._expect == "data":
                taken = data[at : at + self._left]
                self.sha256.update(taken)
                self._left -= len(taken)
                at += len(taken)
                if not self._left:
                    self._expect = "line-end"
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if self._expect == "nothing" or len(self._line) > MAX_CHUNK_LINE_BYTES:
                self._expect = "broken"
            elif self._line.endswith(b"\n"):
                self._take_line(bytes(self._line))
                self._line.clear()

    def _take_line(self, line: bytes) -> None:
        blank = line in (b"\r\n", b"\n")
        if self._expect == "line-end":
            self._expect = "size" if blank else "broken"
        elif self._expect == "trailer":
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_TRAILER_BYTES:
                self._expect = "broken"
            elif blank:
                self._expect = "nothing"
        elif found := _CHUNK_SIZE.fullmatch(line):
            self._left = int(found[1], 16)
            self._expect = "data" if self._left else "trailer"
        else:
            self._expect = "broken"
