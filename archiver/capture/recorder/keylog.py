"""The TLS secrets that a browser writes while it runs: ``SSLKEYLOGFILE``, RFC 9850."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archiver.errors import ArchiverError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

KIB = 1024
MIB = 1024 * KIB

MAX_LINE_BYTES = 1 * KIB
MAX_LOG_BYTES = 64 * MIB
"""About 60,000 connections; a log that grows past it is read no further and counts as dropped."""
MAX_READ_BYTES = 1 * MIB

_LINE = re.compile(rb"([A-Z0-9_]{1,64}) ([0-9A-Fa-f]{64}) ((?:[0-9A-Fa-f]{2}){1,256})\r?\Z")


class KeyLogUnreadable(ArchiverError):
    """The key log exists and cannot be read."""


class KeyLog:
    """Read a growing key log; the secrets of a connection are found by its client random.

    Lines of another form are ignored, as RFC 9850 section 1.1 asks; a line that is not yet ended is left for
    the next ``refresh``. When two lines give one connection two secrets of one label, the first stands.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._lines: dict[bytes, dict[str, bytes]] = {}
        self.dropped = False
        """True when the writer said that it left lines out, or when the log is past ``MAX_LOG_BYTES``."""

    def refresh(self) -> bool:
        """Read what was added to the file since the last call.

        Returns:
            True when at least one whole line was added.

        Raises:
            KeyLogUnreadable: The file is there and the system refuses to read it.
        """
        grown = False
        while (data := self._read()) and (end := data.rfind(b"\n") + 1 or self._overlong(data)):
            for line in data[:end].split(b"\n"):
                self._take(line)
            self._position += end
            grown = True
        return grown

    def secret(self, client_random: bytes, label: str) -> bytes | None:
        """Return the secret of *label* for the connection of *client_random* (32 bytes), or None."""
        line = self._lines.get(client_random, {}).get(label)
        return None if line is None else bytes.fromhex(line.split()[2].decode())

    def lines_for(self, randoms: Collection[bytes]) -> bytes:
        """Return the lines of these connections and no other, each as written, each ended with a newline."""
        return b"".join(
            line + b"\n"
            for random, labels in self._lines.items()
            if random in randoms
            for line in labels.values()
        )

    def _read(self) -> bytes:
        if self._position >= MAX_LOG_BYTES:
            self.dropped = True
            return b""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                return file.read(MAX_READ_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise KeyLogUnreadable(
                f"key log {self._path.name}: read failed: expected a readable file, got {error.strerror}",
                code="E510",
                hint="check that the file belongs to the user that runs the capture",
            ) from error

    def _overlong(self, data: bytes) -> int:
        """Pass over an unended line that no key log would hold, so that it cannot fill the memory."""
        if len(data) <= MAX_LINE_BYTES:
            return 0
        self.dropped = True
        return len(data)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"#"):
            # Chromium's writer says so in a comment when its queue of 512 lines was full
            self.dropped = self.dropped or b"dropped" in line
        elif match := _LINE.match(line):
            # kept as lines, so that they can be given out verbatim
            labels = self._lines.setdefault(bytes.fromhex(match[2].decode()), {})
            labels.setdefault(match[1].decode(), line)
