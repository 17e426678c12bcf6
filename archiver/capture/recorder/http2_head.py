"""HTTP/1.1 heads written for HTTP/2 header lists, so that a record has a head to hold.

HTTP/2 has no head on the wire that a WARC record could keep; the exact frames are in the transcript.

- request: ``<:method> <:path> HTTP/1.1``, then ``Host: <:authority>`` where there was one, then every other
  field in the order it was sent, ``name: value``, names in lower case as HTTP/2 sends them, cookie crumbs not
  joined. A CONNECT without ``:path`` has the authority as its target.
- response: ``HTTP/1.1 <:status>`` and a blank (the reason phrase is empty), then the fields.
- Lines end with CR LF and a blank line ends the head. Other pseudo fields go into the notes.
- Octets that could begin a line or a field of their own (RFC 9113 section 8.2.1 forbids them) are written as
  ``%XX``, and a note says so. All others are kept.

Source: RFC 9113 section 8.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]

_NOT_IN_VALUE = re.compile(rb"[\r\n\0]")
_NOT_IN_NAME = re.compile(rb"[\x00-\x20:\x7f]")
_NOT_IN_LINE = re.compile(rb"[\x00-\x20\x7f]")


@dataclass(slots=True)
class HeaderList:
    """One decoded header list, pseudo fields apart.

    Args:
        pseudo: Fields whose name begins with a colon; the first of each name counts.
        plain: The others, in order.
    """

    pseudo: dict[bytes, bytes]
    plain: Fields
    notes: list[str] = field(default_factory=list)

    def text(self, name: bytes) -> str:
        """Return pseudo field *name*, latin-1 decoded, or an empty string."""
        return self.pseudo.get(name, b"").decode("latin-1")


def header_list(fields: Fields) -> HeaderList:
    """Sort *fields* into pseudo and plain ones; what HTTP/2 forbids is escaped and noted."""
    pseudo: dict[bytes, bytes] = {}
    result = HeaderList(pseudo, [])
    escaped = 0
    for name, value in fields:
        if name[:1] == b":":
            pseudo.setdefault(name, value)
            continue
        clean = (_escape(_NOT_IN_NAME, name), _escape(_NOT_IN_VALUE, value))
        escaped += clean != (name, value)
        result.plain.append(clean)
    if escaped:
        result.notes.append(f"{escaped} fields hold octets that HTTP/2 forbids, written here as %XX")
    return result


def request_head(headers: HeaderList) -> bytes:
    """Return the head of a request; see the module for its form."""
    pseudo = headers.pseudo
    authority = pseudo.get(b":authority")
    target = pseudo.get(b":path") or authority or b""
    line = b"%b %b HTTP/1.1\r\n" % (_line(headers, pseudo.get(b":method", b"")), _line(headers, target))
    host = b"" if authority is None else b"Host: %b\r\n" % _line(headers, authority)
    return line + host + _lines(headers.plain)


def response_head(headers: HeaderList) -> bytes:
    """Return the head of a response; see the module for its form."""
    status = _line(headers, headers.pseudo.get(b":status", b""))
    return b"HTTP/1.1 %b \r\n" % status + _lines(headers.plain)


def status_of(headers: HeaderList) -> int:
    """Return the status code of a response; 0 when it is not three digits."""
    status = headers.pseudo.get(b":status", b"")
    return int(status) if len(status) == 3 and status.isdigit() else 0


def url_of(headers: HeaderList, *, websocket: bool) -> str:
    """Return the absolute URL of a request, ``wss`` for a WebSocket."""
    authority = headers.text(b":authority")
    if b":path" not in headers.pseudo:
        return authority
    if not authority:
        authority = next((v.decode("latin-1") for k, v in headers.plain if k.lower() == b"host"), "")
    scheme = headers.text(b":scheme")
    if websocket:
        scheme = {"https": "wss", "http": "ws"}.get(scheme, scheme)
    return f"{scheme}://{authority}{headers.text(b':path')}"


def _lines(fields: Fields) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in fields) + b"\r\n"


def _line(headers: HeaderList, value: bytes) -> bytes:
    """Return *value* fit for a request or status line."""
    clean = _escape(_NOT_IN_LINE, value)
    if clean != value:
        headers.notes.append("the first lines hold octets that HTTP forbids there, written here as %XX")
    return clean


def _escape(forbidden: re.Pattern[bytes], value: bytes) -> bytes:
    return forbidden.sub(lambda found: b"%%%02X" % found[0][0], value)
