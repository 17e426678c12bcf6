"""The entity of a response: its body without chunk framing and content coding, for a document exhibit."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import zstandard
from warcio.bufferedreaders import ChunkedDataException, ChunkedDataReader

from archiver.capture.recorder.coding import CodingError, decoded
from archiver.formats.fields import media_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from archiver.capture.recorder.exchange import Exchange

CHUNK_BYTES = 256 * 1024
MAX_WINDOW_BYTES = 128 * 1024 * 1024
"""Of zstd: what browsers allow is 8 MiB; more is accepted and less than a bomb."""

_CODING = re.compile(rb"^content-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_EXTENSIONS = {
    "application/pdf": ".pdf",
    "application/json": ".json",
    "application/zip": ".zip",
    "text/csv": ".csv",
    "text/plain": ".txt",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "audio/mpeg": ".mp3",
}
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", ""})


def document_name(exchange: Exchange) -> tuple[str, str] | None:
    """Name the file that *exchange* brought, with its media type; None when it brought a page or nothing."""
    if exchange.status != 200 or exchange.response_body is None or not exchange.response_body.size_bytes:
        return None
    kind = media_type(exchange.response_head or b"")
    if kind in _PAGE_TYPES:
        return None
    return f"document{_EXTENSIONS.get(kind, '.bin')}", kind


def write_document(exchange: Exchange, out: Path, limit_bytes: int) -> bool:
    """Write the entity of *exchange* to *out*; False (and no file) when it is broken or over the limit."""
    size = 0
    try:
        with out.open("wb") as file:
            for piece in entity(exchange):
                size += len(piece)
                if size > limit_bytes:
                    break
                file.write(piece)
    except (CodingError, zstandard.ZstdError, ChunkedDataException):
        size = limit_bytes + 1
    if size > limit_bytes:
        out.unlink(missing_ok=True)
        return False
    return True


def entity(exchange: Exchange) -> Iterator[bytes]:
    """Yield the body of a response with chunk framing and content coding undone.

    Raises:
        CodingError, ZstdError, ChunkedDataException: It is not what its head says.
    """
    body = exchange.response_body
    assert body is not None
    body.file.seek(0)
    stream: IO[bytes] = ChunkedDataReader(body.file) if body.chunked else body.file
    found = _CODING.search(exchange.response_head or b"")
    coding = found[1].strip().lower().decode("latin-1") if found else ""
    if coding == "zstd":
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(stream) as plain:
            yield from _pieces(plain)
    else:
        yield from decoded(_pieces(stream), coding)


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece
