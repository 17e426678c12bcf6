"""Values of WARC headers and ``application/warc-fields``: dates, URIs, digests, media types.

Everything here turns what may come from outside into printable ASCII of one line.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

PRINTABLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))
MAX_MIME_CHARS = 127
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Field = tuple[str, str]


def warc_date(time_ns: int) -> str:
    """Return a Unix time in nanoseconds as a WARC-Date with microseconds."""
    return date_text(EPOCH + timedelta(microseconds=time_ns // 1000))


def date_text(at: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with microseconds and ``Z``."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def wire_uri(url: str) -> str:
    """Return a URL as sent (latin-1 decoded) with every byte outside printable ASCII percent-encoded."""
    try:
        return quote(url.encode("latin-1"), safe=PRINTABLE_ASCII)
    except UnicodeEncodeError:
        return text_uri(url)


def text_uri(uri: str) -> str:
    """Return a URI from text with spaces, controls and non-ASCII percent-encoded as UTF-8."""
    return quote(uri.encode("utf-8", "replace"), safe=PRINTABLE_ASCII)


def warc_digest(sha256_hex: str) -> str:
    """Return a hex SHA-256 as WARC writes it: ``sha256:`` and upper-case base32."""
    return "sha256:" + base64.b32encode(bytes.fromhex(sha256_hex)).decode("ascii")


def media_type(head: bytes) -> str:
    """Return the media type that a message head states, lower case, without parameters, or nothing."""
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"content-type":
            mime = value.decode("latin-1").partition(";")[0].strip().lower()
            return quote(mime, safe="/+.-_")[:MAX_MIME_CHARS]
    return ""


def warc_fields(pairs: Iterable[Field]) -> bytes:
    """Return ``application/warc-fields``: a line each, whatever stands in the values (section 4)."""
    lines = (f"{name}: {one_line(value)}\r\n" for name, value in pairs if value)
    return "".join(lines).encode("utf-8", "replace")


def one_line(text: str) -> str:
    """Return *text* with every control character and line separator as a space."""
    return "".join(char if char.isprintable() else " " for char in text)
