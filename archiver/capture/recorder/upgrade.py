"""What follows an upgrade or a CONNECT: bytes both ways, kept as the two bodies of its exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archiver.capture.recorder.body import BodyWriter
from archiver.capture.recorder.splitter import CLIENT, SERVER, Draft
from archiver.capture.recorder.websocket import FrameCounter

if TYPE_CHECKING:
    from archiver.capture.recorder.exchange import Truncation


class Upgraded:
    """An exchange that goes on as another protocol.

    Args:
        draft: The exchange; its response head has arrived.
        websocket: True when the two sides agreed on WebSocket.
    """

    def __init__(self, draft: Draft, *, websocket: bool) -> None:
        self._draft = draft
        self._bodies = (
            draft.request_body or BodyWriter(draft.origin.folder),
            draft.response_body or BodyWriter(draft.origin.folder),
        )
        draft.request_body, draft.response_body = self._bodies
        self._frames = (FrameCounter(), FrameCounter()) if websocket else None
        self._ended = False
        if websocket:
            draft.protocol = "websocket"

    def feed(self, direction: int, data: bytes, time_ns: int) -> None:
        """Take bytes of one direction."""
        self._draft.touch(time_ns)
        self._bodies[direction].write(data)
        if self._frames is not None:
            self._frames[direction].feed(data)

    def end(self) -> None:
        """Take the orderly end of the server's side."""
        self._ended = True

    def finish(self, truncated: Truncation, why: str) -> Draft:
        """Return the exchange, marked *truncated* for *why* unless it ended by its own rules."""
        draft = self._draft
        if self._frames is None:
            whole = self._ended
            draft.note("after the heads, both bodies are the bytes of another protocol, as on the wire")
        else:
            whole = self._frames[SERVER].closed
            draft.note(
                "both bodies are WebSocket frames as on the wire, the client's masked; "
                f"client: {self._frames[CLIENT].words}; server: {self._frames[SERVER].words}"
            )
        if not whole:
            draft.truncated = truncated
            draft.note(f"what followed the upgrade did not end by its own rules: {why}")
        return draft
