"""Message bodies on their way from the wire to a record: written once, digested as they pass."""

from __future__ import annotations

import hashlib
import tempfile
from typing import TYPE_CHECKING

from archiver.capture.recorder.exchange import Body
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from pathlib import Path

SPOOL_BYTES = 1024 * 1024
"""A body above this size leaves memory for a file without a name in the folder of the wire file."""


class BodyWriter:
    """One body that is still arriving.

    The payload is digested apart from the whole only where there is framing.

    Args:
        folder: Where a body above ``SPOOL_BYTES`` goes; private, on the disk that has room for captures.
        chunked: True when the bytes hold HTTP/1.1 chunk framing.
    """

    def __init__(self, folder: Path, *, chunked: bool = False) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder))  # noqa: SIM115 - the sink closes it
        self._sha256 = hashlib.sha256()
        self._payload_sha256 = hashlib.sha256() if chunked else None
        self._broken = False
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append payload bytes; raises as ``write_framed`` does."""
        self.write_framed(data, data)

    def write_framed(self, data: bytes, payload: bytes) -> None:
        """Append *data* as on the wire, of which *payload* is what is left without the framing.

        Raises:
            EnvironmentUnfit: The disk took no more.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise EnvironmentUnfit(
                f"body of {self.size_bytes} bytes: writing it to disk failed: "
                f"expected room for {len(data)} more bytes, got {error.strerror}",
                code="E541",
                hint="free space on the disk that holds the spool folder, then pack the capture again",
            ) from error
        self._sha256.update(data)
        if self._payload_sha256 is not None:
            self._payload_sha256.update(payload)
        self.size_bytes += len(data)

    def mark_broken(self) -> None:
        """Say that the framing does not tell what the payload is: there will be no payload digest."""
        self._broken = True

    def finish(self) -> Body:
        """Hand the body over; whoever gets it closes its file."""
        whole = self._sha256.hexdigest()
        payload = self._payload_sha256.hexdigest() if self._payload_sha256 is not None else whole
        return Body(
            file=self._file,
            size_bytes=self.size_bytes,
            sha256=whole,
            payload_sha256="" if self._broken else payload,
            chunked=self._payload_sha256 is not None,
        )
