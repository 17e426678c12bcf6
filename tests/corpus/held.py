"""What a package holds, read with libraries that are not ours."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import brotli
import zstandard
from warcio.archiveiterator import ArchiveIterator

from tests.corpus.log import ID_FIELD


@dataclass
class Held:
    """One exchange of a package.

    Args:
        number: Of ``X-Exchange`` in the response; 0 where there is none.
        truncated: As the response record says, or empty.
        remarks: Of the metadata record, as text.
    """

    url: str
    request_head: bytes = b""
    request_body: bytes = b""
    response_head: bytes = b""
    response_body: bytes = b""
    number: int = 0
    truncated: str = ""
    remarks: str = ""
    record_ids: set[str] = field(default_factory=set)


def exchanges(package: Path) -> list[Held]:
    """Return every request with its response, in the order of the package."""
    found: list[Held] = []
    by_id: dict[str, Held] = {}
    for kind, fields, block in _records(package):
        linked = [by_id[value] for name, value in fields if name == "WARC-Concurrent-To" and value in by_id]
        values = dict(fields)
        if kind not in {"request", "response", "metadata"} or (kind == "metadata" and not linked):
            continue
        if linked:
            held = linked[0]
        else:
            held = Held(values["WARC-Target-URI"])
            found.append(held)
        by_id[values["WARC-Record-ID"]] = held
        if kind == "request":
            held.request_head, held.request_body = _split(block)
        elif kind == "response":
            held.response_head, held.response_body = _split(block)
            held.truncated = values.get("WARC-Truncated", "")
            held.number = int(fields_of(held.response_head).get(ID_FIELD, b"0"))
        else:
            held.remarks = block.decode()
    return found


def _records(package: Path) -> Iterator[tuple[str, list[tuple[str, str]], bytes]]:
    with zipfile.ZipFile(package) as wacz, wacz.open("archive/data.warc.gz") as warc:
        for record in ArchiveIterator(warc, no_record_parse=True):
            yield record.rec_type, record.rec_headers.headers, record.content_stream().read()


def _split(block: bytes) -> tuple[bytes, bytes]:
    """Part head and body at the first blank line, whichever line ends it was written with."""
    places = [block.find(end) + len(end) for end in (b"\r\n\r\n", b"\n\n") if end in block]
    place = min(places, default=len(block))
    return block[:place], block[place:]


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a head, names in lower case; the last of each name counts."""
    lines = (line.partition(b":") for line in head.replace(b"\r\n", b"\n").split(b"\n")[1:])
    return {name.lower(): value.strip() for name, colon, value in lines if colon}


def plain(held: Held) -> bytes:
    """Return the body without chunk framing and content coding.

    Raises:
        ValueError: It cannot be decoded.
    """
    fields = fields_of(held.response_head)
    body = held.response_body
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = _dechunked(body)
    for coding in reversed(fields.get(b"content-encoding", b"").decode().split(",")):
        try:
            body = DECODERS[coding.strip()](body)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise ValueError(str(error)) from error
    return body


def _dechunked(data: bytes) -> bytes:
    out = bytearray()
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        out += data[:size]
        data = data[size + 2 :]
    return bytes(out)


def _gunzip(data: bytes) -> bytes:
    out = b""
    while data:
        inflate = zlib.decompressobj(wbits=31)
        out += inflate.decompress(data) + inflate.flush()
        if not inflate.eof:
            raise ValueError("gzip: expected its end, got none")
        data = inflate.unused_data
    return out


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return zlib.decompress(data, wbits=-15)


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": _gunzip,
    "deflate": _inflate,
    "br": brotli.decompress,
    "zstd": _unzstd,
}
