"""A second tap beside the relay: Chromium's own NetLog, which holds what its sockets carried, in plaintext.

It is written by the browser and shares no code with the recorder. It slows pages down and says nothing of
what arrived after the browser lost interest; so it is for tests.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archiver.capture.browser import find_browser

RECEIVED = {"SSL_SOCKET_BYTES_RECEIVED": True, "SOCKET_BYTES_RECEIVED": False}
SENT = {"SSL_SOCKET_BYTES_SENT": True, "SOCKET_BYTES_SENT": False}
SOCKS_ANSWER_BYTES = 2 + 10
"""RFC 1928: the method that was chosen, and the reply with an IPv4 address."""


@dataclass
class Socket:
    """What one socket carried each way besides the talk to the relay: the plaintext where there is TLS."""

    secure: bool = False
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)

    def plain(self) -> tuple[bytes, bytes]:
        if self.secure:
            return bytes(self.sent), bytes(self.received)
        host_bytes = self.sent[7] if len(self.sent) > 7 else 0
        return bytes(self.sent[3 + 5 + host_bytes + 2 :]), bytes(self.received[SOCKS_ANSWER_BYTES:])

    def digests(self) -> tuple[str, str]:
        return tuple(hashlib.sha256(data).hexdigest() for data in self.plain())


@dataclass
class NetLog:
    """What the browser wrote down: its sockets, and ``X-Exchange`` of each response head that it parsed."""

    sockets: list[Socket]
    exchanges: set[int]


@contextlib.contextmanager
def tapped_browser() -> Iterator[tuple[Path, Path]]:
    """Give a browser that logs, and the folder it logs to; it may run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="netlog-"))
    try:
        folder.chmod(0o777)
        script = folder / "browser"
        flags = f"--log-net-log={folder}/$$.json --net-log-capture-mode=Everything"
        script.write_text(f'#!/bin/sh\nexec {find_browser(None)} {flags} "$@"\n')
        script.chmod(0o755)
        yield script, folder
    finally:
        shutil.rmtree(folder)


def read(folder: Path) -> NetLog:
    """Read every log in *folder*."""
    sockets: list[Socket] = []
    exchanges: set[int] = set()
    for path in folder.glob("*.json"):
        found: dict[int, Socket] = defaultdict(Socket)
        for name, event in _events(path):
            values = event.get("params", {})
            if name in RECEIVED or name in SENT:
                _carry(found[event["source"]["id"]], name, base64.b64decode(values.get("bytes", "")))
            elif name == "HTTP_TRANSACTION_READ_RESPONSE_HEADERS":
                exchanges |= {
                    int(line.partition(":")[2])
                    for line in values.get("headers", [])
                    if line.lower().startswith("x-exchange:")
                }
        sockets += found.values()
    return NetLog(sockets, exchanges)


def _carry(socket: Socket, name: str, data: bytes) -> None:
    ways, side = (SENT, "sent") if name in SENT else (RECEIVED, "received")
    if ways[name] and not socket.secure:
        socket.secure, socket.sent, socket.received = True, bytearray(), bytearray()
    if ways[name] == socket.secure:
        getattr(socket, side).extend(data)


def _events(path: Path) -> Iterator[tuple[str, dict]]:
    """Yield events by name; the file is one JSON document with an event a line, and may lack its end."""
    names: dict[int, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if text.startswith('{"constants"'):
                names = {
                    number: name
                    for name, number in json.loads(text + "}")["constants"]["logEventTypes"].items()
                }
            elif text.startswith("{"):
                with contextlib.suppress(json.JSONDecodeError):
                    event = json.loads(text.removesuffix("]}"))
                    yield names[event["type"]], event
