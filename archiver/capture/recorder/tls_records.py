"""TLS records cut out of a byte stream, still sealed. RFC 8446 section 5.1, RFC 5246 section 6.2."""

from __future__ import annotations

from typing import NamedTuple

KIB = 1024

HEADER_BYTES = 5
MAX_RECORD_BYTES = 16 * KIB + 2 * KIB
"""Of one protected record (RFC 5246 section 6.2.3; TLS 1.3 allows less)."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23


class Record(NamedTuple):
    """One record as it passed.

    Args:
        direction: 0 from the client, 1 from the server.
        header: Its five bytes.
        payload: What follows them.
        time_ns: Unix time of the data that completed it.
    """

    direction: int
    header: bytes
    payload: bytes
    time_ns: int

    @property
    def size_bytes(self) -> int:
        """Length on the wire."""
        return HEADER_BYTES + len(self.payload)


class RecordCutter:
    """Cut the bytes of one direction into records.

    A header that no record has comes out as a last record without payload, so that it is judged in its turn
    (see ``header_fault``); what follows it is not looked at.

    Args:
        direction: Which is put into the records.
    """

    def __init__(self, direction: int) -> None:
        self._direction = direction
        self._tail = bytearray()
        self._over = False

    @property
    def trailing_bytes(self) -> int:
        """How many bytes of a record that is not whole yet are held."""
        return len(self._tail)

    def cut(self, data: bytes, time_ns: int) -> list[Record]:
        """Append *data* and return the records that are whole now."""
        records: list[Record] = []
        if self._over:
            return records
        self._tail += data
        position = 0
        with memoryview(self._tail) as view:
            while not self._over and len(view) - position >= HEADER_BYTES:
                start = position + HEADER_BYTES
                header = bytes(view[position:start])
                self._over = bool(header_fault(header))
                end = start if self._over else start + int.from_bytes(header[3:], "big")
                if end > len(view):
                    break
                # copied, since the buffer cannot shrink while anything looks into it
                records.append(Record(self._direction, header, bytes(view[start:end]), time_ns))
                position = end
        del self._tail[:position]
        return records


def header_fault(header: bytes) -> str:
    """Say what is wrong with a record header, or nothing."""
    kind, major, length = header[0], header[1], int.from_bytes(header[3:], "big")
    if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or major != 3:
        return f"expected type 20 to 23 and version 3.x, got {header[:3].hex(' ')}"
    if length > MAX_RECORD_BYTES:
        return f"expected at most {MAX_RECORD_BYTES} bytes, got {length}"
    return ""
