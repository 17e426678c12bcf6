"""A stored capture held against a reader that is not ours: tshark over its transcript.

Two comparisons. Every direction of every connection: the plaintext that the evidence record binds against the
plaintext that tshark decrypts. Every response body of the package: its bytes, as sent or decoded, against the
bodies that tshark takes out; what it cannot take out is listed, and is covered by its direction.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warcio.archiveiterator import ArchiveIterator
from warcio.bufferedreaders import ChunkedDataException, ChunkedDataReader

from archiver.capture.recorder import tshark
from archiver.capture.recorder.coding import CodingError, decoded
from archiver.capture.recorder.connection_facts import Plaintext
from archiver.capture.recorder.crosscheck import ConnectionClaim, DirectionCheck, crosscheck
from archiver.capture.recorder.transcript import server_address
from archiver.fetching import CHUNK_BYTES, fetch_artifact
from archiver.summary import load_record

if TYPE_CHECKING:
    from manifests.record_network import Connection, PlaintextDigest
    from storage.interface import Store

MAX_HEAD_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CaptureCheck:
    """What came of it.

    Args:
        reader: tshark's version line.
        directions: Two for each connection.
        exported: URLs of responses whose bodies tshark takes out byte for byte.
        not_exported: URLs of those that it does not take out, with the reason as far as it is known.
    """

    reader: str
    directions: tuple[DirectionCheck, ...]
    exported: tuple[str, ...]
    not_exported: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """True when every direction of every connection is equal."""
        return all(check.agrees for check in self.directions)


def crosscheck_capture(store: Store, capture_id: str) -> CaptureCheck:
    """Let tshark read the transcript of a capture, and compare.

    Raises:
        UsageError: E165, the capture has no transcript or no package that can be read.
        EnvironmentUnfit: There is no tshark, or it cannot read the transcript.
        StoreError: A file cannot be read.
    """
    record, _ = load_record(store, capture_id)
    with tempfile.TemporaryDirectory(prefix="crosscheck-") as name:
        folder = Path(name)
        transcript = fetch_artifact(store, record, "transcript", folder)
        package = fetch_artifact(store, record, "package", folder)
        claims = [_claim(one) for one in record.network.connections if one.sent_plaintext]
        result = crosscheck(transcript, claims, [])
        objects = folder / "objects"
        objects.mkdir()
        tshark.follow(transcript, [], objects)
        known = tshark.exported_digests(objects)
        for digests in tshark.http2_digests(transcript).values():
            known |= digests
        exported, missing = [], []
        for url, digests, remark in _bodies(package):
            if digests & known:
                exported.append(url)
            else:
                missing.append((url, remark or "not exported by this version of tshark"))
    return CaptureCheck(result.reader, result.directions, tuple(exported), tuple(missing))


def _claim(one: Connection) -> ConnectionClaim:
    server = (str(server_address(one.ip or "")), one.dialled_port or one.port)
    return ConnectionClaim(
        one.number, one.tls is not None, server, _plain(one.sent_plaintext), _plain(one.received_plaintext)
    )


def _plain(digest: PlaintextDigest | None) -> Plaintext:
    return Plaintext(digest.bytes, digest.sha256) if digest else Plaintext(0, hashlib.sha256().hexdigest())


def _bodies(package: Path) -> Iterator[tuple[str, set[str], str]]:
    """Yield each response with a body: URL, digests of the body as sent and decoded, and what is odd."""
    with zipfile.ZipFile(package) as wacz, wacz.open("archive/data.warc.gz") as warc:
        for record in ArchiveIterator(warc, no_record_parse=True):
            if record.rec_type != "response":
                continue
            url = record.rec_headers.get_header("WARC-Target-URI")
            cut = record.rec_headers.get_header("WARC-Truncated") or ""
            yield from _body(url, record.content_stream(), f"truncated: {cut}" if cut else "")


def _body(url: str, block: IO[bytes], remark: str) -> Iterator[tuple[str, set[str], str]]:
    head = b""
    while len(head) < MAX_HEAD_BYTES and (line := block.readline()).strip(b"\r\n"):
        head += line
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\n")[1:] if b":" in line)
    chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
    coding = fields.get(b"content-encoding", b"").strip().decode("latin-1")
    sent, plain = hashlib.sha256(), hashlib.sha256()
    size = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        stream = ChunkedDataReader(block) if chunked else block
        while piece := stream.read(CHUNK_BYTES):
            sent.update(piece)
            size += len(piece)
            yield piece

    try:
        for piece in decoded(pieces(), coding):
            plain.update(piece)
        digests = {plain.hexdigest()}
    except (CodingError, ChunkedDataException) as error:
        digests, remark = set(), remark or str(error)
        for _ in pieces():
            pass
    if size:
        yield url, digests | {sent.hexdigest()}, remark
