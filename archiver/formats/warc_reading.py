"""Reading a WARC of ours back: exchanges as they were written, and resources.

Reads what ``archiver.formats.warc`` writes: a response before its request, metadata behind it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, cast

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord

from archiver.capture.recorder.exchange import Body, Exchange, Truncation
from archiver.errors import ArchiverError

CHUNK_BYTES = 256 * 1024
MAX_IN_MEMORY_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 4 * 1024 * 1024
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r\n]*chunked")


class WarcUnreadable(ArchiverError):
    """A WARC that cannot be read as one of ours."""


@dataclass(slots=True)
class Resource:
    """A ``resource`` record.

    Args:
        uri: As it stands in the record.
        media_type: Of the content.
        at: Aware time.
        file: The content, at its beginning; the reader of the next record closes it.
    """

    uri: str
    media_type: str
    at: datetime
    file: IO[bytes]


def read_records(warc: IO[bytes]) -> Iterator[Exchange | Resource]:
    """Yield exchanges and resources in file order; ``warcinfo`` is left out.

    What was yielded is to be used before the next is asked for: its files are closed then.

    Raises:
        WarcUnreadable: E264, it is no WARC, or none of ours.
    """
    response: tuple[ArcWarcRecord, bytes, Body] | None = None
    waiting: Exchange | None = None
    try:
        for record in ArchiveIterator(warc, no_record_parse=True):
            kind = record.rec_type
            if kind == "metadata" and waiting:
                _take_remarks(waiting, record.content_stream().read(MAX_HEAD_BYTES))
                continue
            if waiting:
                yield waiting
                _close(waiting)
                waiting = None
            if kind == "response":
                response = (record, *_message(record))
            elif kind == "request":
                waiting, response = _exchange(record, response), None
            elif kind == "resource":
                with _copied(record.content_stream()) as file:
                    yield Resource(
                        _field(record, "WARC-Target-URI"), _field(record, "Content-Type"), _at(record), file
                    )
        if waiting:
            yield waiting
            _close(waiting)
    except (ArchiveLoadFailed, ValueError) as error:
        raise WarcUnreadable(
            f"WARC: expected records as this program writes them, got: {str(error)[:200]}",
            code="E264",
            hint="run `archiver verify` on the capture",
        ) from error


def _exchange(record: ArcWarcRecord, response: tuple[ArcWarcRecord, bytes, Body] | None) -> Exchange:
    head, body = _message(record)
    names = record.rec_headers.headers
    protocols = [value for name, value in names if name.lower() == "warc-protocol"]
    url = _field(record, "WARC-Target-URI")
    is_socket = url.startswith(("ws:", "wss:"))
    at_ns = round(_at(record).timestamp() * 10**6) * 1000
    return Exchange(
        connection=0,
        stream=None,
        url=url,
        method=head.split(b" ", 1)[0].decode("latin-1"),
        protocol="websocket" if is_socket else next((p for p in protocols if not p.startswith("tls/")), ""),
        request_head=head,
        request_body=body if body.size_bytes else None,
        response_head=response[1] if response else None,
        response_body=response[2] if response else None,
        started_at_ns=at_ns,
        response_at_ns=0,
        finished_at_ns=at_ns,
        ip=_field(record, "WARC-IP-Address"),
        port=0,
        tls=url.startswith(("https:", "wss:")),
        truncated=cast("Truncation | None", _field(response[0], "WARC-Truncated") or None)
        if response
        else None,
        tls_version=next((p for p in protocols if p.startswith("tls/")), ""),
        cipher_suite=_field(record, "WARC-Cipher-Suite"),
    )


def _take_remarks(exchange: Exchange, block: bytes) -> None:
    for line in block.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "note":
            exchange.notes.append(value)
        elif name == "truncated":
            exchange.truncated = cast("Truncation", value)
        elif name == "fetchTimeMs" and value.isdecimal():
            exchange.finished_at_ns = exchange.started_at_ns + int(value) * 10**6
        elif name == "interim-head-base64":
            try:
                exchange.interim_heads.append(base64.b64decode(value, validate=True))
            except binascii.Error as error:
                raise ValueError(f"interim head: {error}") from error


def _message(record: ArcWarcRecord) -> tuple[bytes, Body]:
    """Split a block into head, blank line included, and body; a block without a head is all body."""
    block = record.content_stream()
    start = b""
    while not (found := _HEAD_END.search(start)) and len(start) < MAX_HEAD_BYTES:
        piece = block.read(CHUNK_BYTES)
        if not piece:
            break
        start += piece
    end = found.end() if found else 0
    head = start[:end]
    file = _copied(block, start[end:])
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a file all the same
    size = file.tell()
    chunked = _CHUNKED.search(head) is not None and not _field(record, "WARC-Payload-Digest")
    return head, Body(file, size, digest, "" if chunked else digest, chunked)


def _copied(source: IO[bytes], start: bytes = b"") -> IO[bytes]:
    file = tempfile.SpooledTemporaryFile(MAX_IN_MEMORY_BYTES)  # noqa: SIM115  closed by read_records
    file.write(start)
    while piece := source.read(CHUNK_BYTES):
        file.write(piece)
    file.seek(0)
    return cast("IO[bytes]", file)


def _field(record: ArcWarcRecord, name: str) -> str:
    return record.rec_headers.get_header(name) or ""


def _at(record: ArcWarcRecord) -> datetime:
    return datetime.fromisoformat(_field(record, "WARC-Date"))


def _close(exchange: Exchange) -> None:
    for body in (exchange.request_body, exchange.response_body):
        if body is not None:
            body.file.close()
