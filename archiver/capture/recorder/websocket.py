"""WebSocket connections: which exchange begins one, and what its frames were, for the notes of the record.

The frames themselves are kept in the two bodies of the exchange as they were on the wire: masked where the
client sent them.

Source: RFC 6455 sections 4.2.2 and 5.2; RFC 8441 for HTTP/2.
"""

from __future__ import annotations

from archiver.capture.recorder.http1_head import Fields, values_of

CLOSE = 8
NAMES = {0: "continuation", 1: "text", 2: "binary", CLOSE: "close", 9: "ping", 10: "pong"}


def is_upgrade(fields: Fields) -> bool:
    """Tell whether the header fields of a request or of a 101 response name the WebSocket protocol."""
    return any(value.lower() == b"websocket" for value in values_of(fields, b"upgrade"))


class FrameCounter:
    """Counts the frames of one direction without keeping any."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._head = bytearray()
        self._left = 0

    @property
    def closed(self) -> bool:
        """True when a whole close frame has passed and nothing after it is unfinished."""
        return CLOSE in self._counts and not self._left

    @property
    def words(self) -> str:
        """The counts in words, such as ``3 text, 1 close``."""
        named = (f"{count} {NAMES.get(opcode, f'opcode {opcode}')}" for opcode, count in self._counts.items())
        return ", ".join(named) or "no frame"

    def feed(self, data: bytes) -> None:
        """Take the next bytes of this direction."""
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                continue
            self._head.append(data[position])
            position += 1
            self._begin()

    def _begin(self) -> None:
        """Begin the frame whose head is whole, if it is."""
        head = self._head
        if len(head) < 2:
            return
        short = head[1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(head) < 2 + extra + (4 if head[1] & 0x80 else 0):
            return
        self._left = int.from_bytes(head[2 : 2 + extra], "big") if extra else short
        opcode = head[0] & 0x0F
        self._counts[opcode] = self._counts.get(opcode, 0) + 1
        head.clear()
