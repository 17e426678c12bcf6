"""WARC 1.1 files: one gzip member a record, HTTP messages byte for byte as they came.

warcio lays out the records; it is never given a message to parse, since it would encode heads anew.
The standard takes a payload digest over the entity body (section 5.9 with RFC 7230 section 3.3),
``warcio check`` over the bytes with their chunk framing. An expert who runs the one must not be told
that evidence is damaged, so a chunked message has no payload digest in its record: its block digest
covers every byte, and the digest of its entity stands in the index.
"""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

from warcio.recordloader import ArcWarcRecord
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.errors import ArchiverError, EnvironmentUnfit
from archiver.formats.cdxj import IndexEntry
from archiver.formats.fields import (
    Field,
    date_text,
    media_type,
    text_uri,
    warc_date,
    warc_digest,
    warc_fields,
    wire_uri,
)
from archiver.formats.methods import request_query

KIB = 1024
GZIP_LEVEL = 3
"""100 MB/s on text; level 6 saves another tenth of the size at less than half the speed."""
PROBE_BYTES = 32 * KIB
CHUNK_BYTES = 64 * KIB


class _RecordWriter(WARCWriter):  # type: ignore[misc]  # warcio ships no types
    def ensure_digest(
        self, record: ArcWarcRecord, block: bool = True, payload: bool = True
    ) -> None:  # warcio's signature
        """Add no digest: each record brings its own, where warcio would add SHA-1."""


class _Member:
    """The gzip member that a record is written into; counts and digests what goes out."""

    def __init__(self, out: IO[bytes], level: int) -> None:
        self._out = out
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS + 16)
        self._digest = hashlib.sha256()
        self.taken_bytes = 0
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self.taken_bytes += len(data)
        self._emit(self._deflate.compress(data))

    def flush(self) -> None:
        """End the member; warcio calls this once, after the record."""
        self._emit(self._deflate.flush())

    def _emit(self, data: bytes) -> None:
        self._out.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Block:
    """A record block: a head, then a file from its beginning; read twice, never held."""

    def __init__(self, head: bytes, body: IO[bytes] | None = None) -> None:
        self._pending = head
        self._body = body
        self.size_bytes = 0
        self.compressible = True
        digest = hashlib.sha256()
        if body:
            body.seek(0)
        while chunk := self.read(CHUNK_BYTES):
            if body and self.size_bytes == len(head):
                self.compressible = _shrinks(chunk[:PROBE_BYTES])
            digest.update(chunk)
            self.size_bytes += len(chunk)
        self.sha256 = digest.hexdigest()
        self._pending = head
        if body:
            body.seek(0)

    def read(self, size: int) -> bytes:
        if self._pending:
            head, self._pending = self._pending, b""
            return head
        return self._body.read(size) if self._body else b""


def _shrinks(sample: bytes) -> bool:
    """Whether compressing saves a quarter, and so is worth the time; pictures and video are stored."""
    return len(zlib.compress(sample, 1)) < 0.75 * len(sample) if sample else True


class WarcWriter:
    """Writes one WARC 1.1 file from its beginning, ``warcinfo`` first. A context manager.

    Args:
        out: Path of the file, which is replaced, or a stream at its beginning that the caller closes.
        filename: Name that the file states of itself.
        info: Fields of the ``warcinfo`` record: ``software``, ``operator``, ...
        created_at: Aware time of the ``warcinfo`` record.

    Raises:
        EnvironmentUnfit: The file cannot be written (E230); also from every ``write_`` method.

    Source: ISO 28500:2017 (WARC 1.1); WARC-Protocol and WARC-Cipher-Suite as proposed in
    iipc/warc-specifications 42 and 86.
    """

    def __init__(
        self, out: Path | BinaryIO, *, filename: str, info: Mapping[str, str], created_at: datetime
    ) -> None:
        self._filename = filename
        self._owned = isinstance(out, Path)
        try:
            self._out: IO[bytes] = out.open("wb") if isinstance(out, Path) else out
        except OSError as error:
            raise _cannot_write(filename, error) from error
        self._offset = 0
        block = warc_fields(info.items())
        fields = [("WARC-Date", date_text(created_at)), ("WARC-Filename", filename)]
        fields.append(("Content-Type", "application/warc-fields"))
        self._write("warcinfo", fields, _Block(block))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and close the file if this writer opened it."""
        try:
            self._out.close() if self._owned else self._out.flush()
        except OSError as error:
            raise _cannot_write(self._filename, error) from error

    def write_exchange(
        self, exchange: Exchange, *, tls_version: str = "", cipher: str = ""
    ) -> list[IndexEntry]:
        """Write the response (where there is one), the request, and metadata where there is more to say.

        Args:
            exchange: Both bodies are read twice and left at their end.
            tls_version: As WARC-Protocol writes it, such as ``tls/1.3``; empty for none.
            cipher: IANA name of the cipher suite; empty for none.

        Returns:
            An entry for each record, in file order. The index takes what it indexes.

        Raises:
            ArchiverError: A value would break a WARC header (E231), or a body is not as long as
                it states (E232).
        """
        # One capture event has one date, whichever record it is on (section 5.4).
        common = [
            ("WARC-Target-URI", wire_uri(exchange.url)),
            ("WARC-Date", warc_date(exchange.started_at_ns)),
        ]
        common += [("WARC-IP-Address", exchange.ip), *_protocol_fields(exchange, tls_version, cipher)]
        entries = []
        if exchange.response_head is not None:
            fields = [*common, ("WARC-Truncated", exchange.truncated or "")]
            entries.append(self._write_response(exchange, fields))
        links = [("WARC-Concurrent-To", entry.record_id) for entry in entries]
        entries.append(
            self._write_message("request", [*common, *links], exchange.request_head, exchange.request_body)
        )
        remarks = exchange_remarks(exchange)
        if remarks:
            links = [("WARC-Concurrent-To", entry.record_id) for entry in entries]
            fields = [*common[:2], *links, ("Content-Type", "application/warc-fields")]
            entries.append(self._write("metadata", fields, _Block(warc_fields(remarks))))
        return entries

    def write_resource(self, uri: str, media_type: str, content: Path | bytes, at: datetime) -> IndexEntry:
        """Write a ``resource`` record: an exhibit, under a URI such as ``urn:view:<url>``.

        Args:
            uri: Text; percent-encoded as UTF-8 where WARC needs it.
            media_type: Of *content*.
            content: The bytes, or a file that holds them.
            at: Aware time the content was made.
        """
        fields = [
            ("WARC-Target-URI", text_uri(uri)),
            ("WARC-Date", date_text(at)),
            ("Content-Type", media_type),
        ]
        try:
            with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
                block = _Block(b"", file)
                fields.append(("WARC-Payload-Digest", warc_digest(block.sha256)))
                return self._write("resource", fields, block, mime=media_type.partition(";")[0])
        except OSError as error:
            raise EnvironmentUnfit(
                f"exhibit {text_uri(uri)[:100]}: reading failed: expected a file, got {error.strerror}",
                code="E233",
            ) from error

    def write_metadata(
        self, uri: str, remarks: Iterable[Field], at: datetime, *, concurrent_to: Iterable[str] = ()
    ) -> IndexEntry:
        """Write a ``metadata`` record of ``application/warc-fields`` about *uri* (text).

        Args:
            uri: Text; percent-encoded as UTF-8 where WARC needs it.
            remarks: Names and values; line breaks and controls in values become spaces.
            at: Aware time.
            concurrent_to: Record IDs of the records it is about.
        """
        fields = [("WARC-Target-URI", text_uri(uri)), ("WARC-Date", date_text(at))]
        fields += [("WARC-Concurrent-To", record_id) for record_id in concurrent_to]
        fields.append(("Content-Type", "application/warc-fields"))
        return self._write("metadata", fields, _Block(warc_fields(remarks)))

    def _write_response(self, exchange: Exchange, fields: list[Field]) -> IndexEntry:
        head = exchange.response_head or b""
        return self._write_message(
            "response",
            fields,
            head,
            exchange.response_body,
            mime=media_type(head),
            status=exchange.status,
            method=exchange.method,
            query=request_query(exchange),
        )

    def _write_message(
        self,
        kind: str,
        fields: list[Field],
        head: bytes,
        body: Body | None,
        *,
        mime: str = "",
        status: int | None = None,
        method: str = "GET",
        query: str = "",
    ) -> IndexEntry:
        block = _Block(head, body.file if body else None)
        expected = len(head) + (body.size_bytes if body else 0)
        if block.size_bytes != expected:
            raise ArchiverError(
                f"{kind} {dict(fields)['WARC-Target-URI'][:100]}: reading the body failed: "
                f"expected {expected} bytes with the head, got {block.size_bytes}",
                code="E232",
            )
        payload = warc_digest(body.payload_sha256) if body and body.payload_sha256 else ""
        fields = [*fields, ("Content-Type", f"application/http; msgtype={kind}")]
        if body and not body.chunked:
            fields.append(("WARC-Payload-Digest", payload))
        entry = self._write(kind, fields, block, mime=mime, status=status, method=method, query=query)
        return replace(entry, payload_digest=payload)

    def _write(
        self,
        kind: str,
        fields: list[Field],
        block: _Block,
        *,
        mime: str = "",
        status: int | None = None,
        method: str = "GET",
        query: str = "",
    ) -> IndexEntry:
        record_id = f"<urn:uuid:{uuid.uuid4()}>"
        fields = [("WARC-Type", kind), ("WARC-Record-ID", record_id), *fields]
        fields.append(("WARC-Block-Digest", warc_digest(block.sha256)))
        headers = StatusAndHeaders("", [_checked(field) for field in fields if field[1]], protocol="WARC/1.1")
        record = ArcWarcRecord("warc", kind, headers, block, None, None, block.size_bytes)
        member = _Member(self._out, GZIP_LEVEL if block.compressible else 0)
        try:
            _RecordWriter(member, gzip=False, warc_version="1.1").write_record(record)
        except OSError as error:
            raise _cannot_write(self._filename, error) from error
        values = dict(fields)
        entry = IndexEntry(
            record_type=kind,
            record_id=record_id,
            uri=values.get("WARC-Target-URI", ""),
            date=values["WARC-Date"],
            mime=mime,
            status=status,
            payload_digest=values.get("WARC-Payload-Digest", ""),
            offset=self._offset,
            length=member.size_bytes,
            sha256=member.sha256,
            method=method,
            request_query=query,
        )
        self._offset += member.size_bytes
        return entry


def exchange_remarks(exchange: Exchange) -> list[Field]:
    """Return what the messages themselves do not say, or nothing for an ordinary exchange."""
    remarks = [("note", note) for note in exchange.notes]
    remarks += [
        ("interim-head-base64", base64.b64encode(head).decode("ascii")) for head in exchange.interim_heads
    ]
    if exchange.response_head is None:
        remarks.append(("response", "none was received"))
        remarks.append(("truncated", exchange.truncated or ""))
    if remarks:
        remarks.append(("fetchTimeMs", str((exchange.finished_at_ns - exchange.started_at_ns) // 10**6)))
    return remarks


def _protocol_fields(exchange: Exchange, tls_version: str, cipher: str) -> list[Field]:
    # The registry of protocol names has none for WebSocket; its opening handshake is HTTP/1.1.
    protocol = "http/1.1" if exchange.protocol == "websocket" else exchange.protocol
    return [("WARC-Protocol", protocol), ("WARC-Protocol", tls_version), ("WARC-Cipher-Suite", cipher)]


def _checked(field: Field) -> Field:
    name, value = field
    if not (value.isascii() and value.isprintable()):
        raise ArchiverError(
            f"WARC field {name}: value refused: expected printable ASCII, got {value[:60]!r}",
            code="E231",
            hint="report this: a value from outside reached a header without being encoded",
        )
    return field


def _cannot_write(filename: str, error: OSError) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"WARC {filename}: writing failed: expected room and permission, got {error.strerror}",
        code="E230",
        hint="free disk space or choose another spool folder",
    )
