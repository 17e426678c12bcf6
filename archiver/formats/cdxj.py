"""CDXJ index lines: where in the WARC file the answer to a URL begins.

Line: ``<SURT key> <14-digit time> <JSON>``; lines sorted bytewise. Source: pywb and WACZ 1.1.1 section 5.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import surt

from archiver.formats.fields import PRINTABLE_ASCII

INDEXED_TYPES = frozenset({"response", "resource", "revisit"})


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One record of a WARC file, as its writer saw it go out.

    Args:
        record_type: WARC-Type.
        record_id: WARC-Record-ID, with its angle brackets.
        uri: WARC-Target-URI, printable ASCII; empty for a ``warcinfo``.
        date: WARC-Date, RFC 3339 with microseconds, ``Z``.
        mime: Media type of the payload without parameters, or empty.
        status: HTTP status code of a response.
        payload_digest: ``sha256:`` and base32 of the payload, or empty.
        offset: Of the record in the file, bytes.
        length: Of the compressed record, bytes.
        sha256: Hex SHA-256 of the compressed record.
        method: Of the request that a response answers.
        request_query: What that request sent, as ``methods.request_query`` puts it.
    """

    record_type: str
    record_id: str
    uri: str
    date: str
    mime: str
    status: int | None
    payload_digest: str
    offset: int
    length: int
    sha256: str
    method: str = "GET"
    request_query: str = ""


def url_key(entry: IndexEntry) -> str:
    """Return the sort key of *entry*: its SURT, or its URI as it is where there is none.

    Method and body of a request that is no GET are part of the key, as replay tools look it up:
    without them the answer to a POST, a HEAD or a preflight would be replayed as the page.
    """
    uri = entry.uri
    if entry.method != "GET":
        query = f"__wb_method={entry.method}&{entry.request_query}".rstrip("&")
        uri += ("&" if "?" in uri else "?") + query
    try:
        key = str(surt.surt(uri))
    except (ValueError, AttributeError):
        key = uri.lower()
    return quote(key, safe=PRINTABLE_ASCII)


def index_line(entry: IndexEntry, filename: str) -> bytes:
    """Return the line of *entry*, which lies in ``archive/<filename>``, with its line feed."""
    fields = {
        "url": entry.uri,
        "mime": entry.mime,
        "status": "" if entry.status is None else str(entry.status),
        "digest": entry.payload_digest,
        "length": str(entry.length),
        "offset": str(entry.offset),
        "filename": filename,
        "recordDigest": f"sha256:{entry.sha256}",
    }
    if entry.method != "GET":
        fields |= {"method": entry.method, "requestBody": entry.request_query}
    present = {name: value for name, value in fields.items() if value}
    time = "".join(filter(str.isdigit, entry.date))[:14]
    return f"{url_key(entry)} {time} {json.dumps(present)}\n".encode("ascii")


def index_lines(entries: Iterable[IndexEntry], filename: str) -> bytes:
    """Return the whole index of one WARC file: its responses and resources, sorted bytewise."""
    return b"".join(sorted(index_line(e, filename) for e in entries if e.record_type in INDEXED_TYPES))
