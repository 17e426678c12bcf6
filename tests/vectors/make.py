"""Make the corpus of good and bad evidence: ``python -m tests.vectors.make``.

Each case starts from one good capture, sealed by keys and an authority that are made anew here, and changes
one thing. Its folder is named for the finding that must be made, and holds the capture's files, the trust
file to judge them by, ``README.md`` with how it was made, and ``expect.json``.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from manifests.checkpoint import LogKey
from manifests.codec import encode
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import CustodyLog
from manifests.digests import digest_bytes
from manifests.keys import FileSigner
from manifests.revocation import Answer, encode_answers
from manifests.seal import LOG_ENTRY, LOG_PROOF, SIGNATURE, sealed_digests, stamp_files
from manifests.signing import sign
from manifests.timestamps import Stamp, render_chain, stated_interval
from manifests.trust import Trust, TrustedAuthority, TrustedKey, render_trust
from manifests.tsa_token import parse_reply
from tests.unit.manifests.records import CAPTURE_ID, artifact
from tests.unit.manifests.records import record as good_record
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW, Craft, authority, craft, request
from tests.unit.manifests.seal.log_stores import MemoryLogStore

HERE = Path(__file__).parent
URL = "https://news.example/a"
ORIGIN = "example.org/evidence"
Files = dict[str, bytes]

SIGNER, STRANGER, LOG_SIGNER = (FileSigner(Ed25519PrivateKey.generate()) for _ in range(3))
ROOT, TSA = authority()
OTHER_ROOT, OTHER_TSA = authority()
TRUST = Trust(
    keys=(TrustedKey("evidence@example.org", SIGNER.public_key, valid_after=NOW - 100 * DAY),),
    authorities=(TrustedAuthority("tsa", "http://127.0.0.1/", ROOT.certificate),),
    logs=(LogKey(ORIGIN, LOG_SIGNER.public_key),),
)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


@dataclass
class Case:
    """One folder of the corpus."""

    code: str
    variant: str
    how: str
    files: Files
    trust: Trust = TRUST
    overall: str = "failed"
    capture_id: str = CAPTURE_ID
    now: dt.datetime = NOW + DAY
    incident_id: str = ""
    opened: tuple[dict[str, str], ...] = ()
    seen: bytes = b""
    is_log: bool = False

    def write(self, root: Path) -> None:
        folder = root / (f"{self.code}--{self.variant}" if self.variant else self.code)
        for name, data in self.files.items():
            path = folder / ("store" if self.is_log else "capture") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "trust.toml").write_text(render_trust(self.trust))
        (folder / "README.md").write_text(
            f"# {folder.name}\n\n{self.how}\n\nMade by `tests/vectors/make.py`.\n"
        )
        facts = {
            "overall": self.overall,
            "code": "" if self.overall == "passed" else self.code,
            "capture_id": self.capture_id,
            "now": self.now.isoformat(),
        }
        if self.incident_id:
            facts["incident_id"] = self.incident_id
        if self.opened:
            facts["opened"] = list(self.opened)
        if self.is_log:
            (folder / "seen.txt").write_bytes(self.seen)
            facts["record_sha256"] = digest_bytes(RECORD).sha256
        (folder / "expect.json").write_text(json.dumps(facts, indent=2) + "\n")


# --- a package ---------------------------------------------------------------------------------------------


def body(data: bytes) -> Body:
    found = digest_bytes(data).sha256
    return Body(io.BytesIO(data), len(data), found, found)


def members() -> Files:
    """The members of a good package, by name."""
    at = dt.datetime(2026, 11, 24, 8, 12, 3, tzinfo=dt.UTC)
    ns = int(at.timestamp()) * 10**9
    exchange = Exchange(
        connection=1,
        stream=None,
        url=URL,
        method="GET",
        protocol="http/1.1",
        request_head=b"GET /a HTTP/1.1\r\nHost: news.example\r\n\r\n",
        request_body=None,
        response_head=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\n\r\n",
        response_body=body(b"<h1>News</h1>"[:12]),
        started_at_ns=ns,
        response_at_ns=ns,
        finished_at_ns=ns,
        ip="192.0.2.7",
        port=443,
        tls=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        warc, wacz = Path(folder) / "data.warc.gz", Path(folder) / "capture.wacz"
        with WarcWriter(warc, filename=warc.name, info={"software": "vectors"}, created_at=at) as writer:
            entries = writer.write_exchange(exchange)
            entries.append(writer.write_resource(f"urn:view:{URL}", "image/png", PNG, at))
            entries.append(writer.write_resource(f"urn:text:{URL}", "text/plain", b"News", at))
        page = Page(url=URL, at=at, title="News", text="News")
        write_wacz(wacz, warc, entries, [page], title="vector", created_at=at, software="vectors")
        with zipfile.ZipFile(wacz) as package:
            return {info.filename: package.read(info) for info in package.infolist()}


def relisted(parts: Files) -> Files:
    """List the members anew: what a forger does who knows the format."""
    package = json.loads(parts["datapackage.json"])
    for resource in package["resources"]:
        data = parts.get(resource["path"])
        if data is not None:
            resource |= {"hash": f"sha256:{digest_bytes(data).sha256}", "bytes": len(data)}
    data = json.dumps(package, indent=2).encode()
    digest = {"path": "datapackage.json", "hash": f"sha256:{digest_bytes(data).sha256}"}
    return parts | {"datapackage.json": data, "datapackage-digest.json": json.dumps(digest).encode()}


def zipped(parts: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as package:
        for name, data in parts:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            info.external_attr = 0o100644 << 16
            package.writestr(info, data)
    return out.getvalue()


def wacz_of(change: Callable[[Files], Files] = lambda parts: parts, *, relist: bool = True) -> bytes:
    changed = change(dict(MEMBERS))
    return zipped((relisted(changed) if relist else changed).items())


WARC = "archive/data.warc.gz"
INDEX = "indexes/index.cdxj"


def records(data: bytes) -> list[bytes]:
    """The records of a gzipped WARC, each decompressed."""
    found = []
    while data:
        one = zlib.decompressobj(31)
        found.append(one.decompress(data) + one.flush())
        data = one.unused_data
    return found


def warc_of(found: list[bytes]) -> bytes:
    return b"".join(gzip.compress(one, 6, mtime=0) for one in found)


def reindexed(parts: Files, warc: bytes) -> Files:
    """Point the index at where the records lie now, so that nothing but the change itself is wrong."""
    lines, offset, starts = [], 0, []
    for one in records(warc):
        length = len(gzip.compress(one, 6, mtime=0))
        starts.append((one, offset, length))
        offset += length
    old = parts[INDEX].decode().splitlines()
    for line in old:
        head, _, fields = line.partition(" {")
        facts = json.loads("{" + fields)
        kind = b"WARC-Type: response" if facts["url"] == URL else b"WARC-Type: resource"
        target = f"WARC-Target-URI: {facts['url']}\r\n".encode()
        for one, start, length in starts:
            if kind in one and target in one:
                digest = digest_bytes(gzip.compress(one, 6, mtime=0)).sha256
                facts |= {"offset": str(start), "length": str(length), "recordDigest": f"sha256:{digest}"}
        lines.append(f"{head} {json.dumps(facts)}")
    return parts | {WARC: warc, INDEX: ("\n".join(lines) + "\n").encode()}


def with_records(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    def apply(parts: Files) -> Files:
        return reindexed(parts, warc_of(change(records(parts[WARC]))))

    return wacz_of(apply)


def sub(kind: bytes, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Change bytes in the record of that kind."""

    def apply(found: list[bytes]) -> list[bytes]:
        assert any(kind in one and old in one for one in found), (kind, old)
        return [one.replace(old, new) if kind in one else one for one in found]

    return apply


MEMBERS = members()


# --- a capture and its seal --------------------------------------------------------------------------------


def loose(wacz: bytes | None = None) -> Files:
    return {
        "capture.wacz": wacz if wacz is not None else zipped(MEMBERS.items()),
        "screenshot-viewport.png": PNG,
        "text.txt": b"News",
    }


_FACTS = {
    "capture.wacz": {"role": "package", "media_type": "application/wacz+zip"},
    "screenshot-viewport.png": {
        "role": "screenshot-viewport",
        "media_type": "image/png",
        "warc_target_uri": f"urn:view:{URL}",
    },
    "text.txt": {"role": "text", "media_type": "text/plain", "warc_target_uri": f"urn:text:{URL}"},
}


def record_of(files: Files, **changes: Any) -> bytes:
    listed = []
    for name, data in files.items():
        found = digest_bytes(data)
        digests = {"bytes": found.bytes, "sha256": found.sha256, "blake3": found.blake3}
        facts = _FACTS.get(name, {"role": "other", "media_type": "text/plain"})
        listed.append(artifact(path=name, **facts, **digests))
    return encode(good_record(artifacts=tuple(listed), **changes))


def stamp(
    data: bytes, *, signer: Any = TSA, root: Any = ROOT, query: bytes | None = None, **facts: Any
) -> Stamp:
    reply = craft(signer, Craft(data=facts.pop("over", data), **facts))
    chain = (signer.certificate, root.certificate)
    mark = chain[0].fingerprint(hashes.SHA256()).hex()
    revocation = encode_answers([Answer(certificate_sha256=mark, kind="none", reason="made for a test")])
    interval = stated_interval(parse_reply(craft(signer, Craft(data=data))))
    return Stamp("tsa", query or request(data), reply, render_chain(chain), revocation, interval)


def log_with(entries: list[bytes], signer: FileSigner = LOG_SIGNER, origin: str = ORIGIN) -> CustodyLog:
    log = CustodyLog(MemoryLogStore(), origin, signer)
    log.append([encode_event(new_event("captured", "vectors")), *entries])
    return log


def logged(record: bytes, files: Files, *, log_signer: FileSigner = LOG_SIGNER, **changes: Any) -> Files:
    facts = {"capture_id": CAPTURE_ID, "digests": sealed_digests(record, files)} | changes
    kind = facts.pop("type", "sealed")
    entry = encode_event(new_event(kind, "vectors", **facts))
    log = log_with([entry], log_signer)
    return files | {LOG_ENTRY: entry, LOG_PROOF: log.prove(1, log.head())}


def sealed(record: bytes, *, by: FileSigner = SIGNER, log: bool = True, **facts: Any) -> Files:
    seal = {SIGNATURE: sign(record, by)}
    seal |= stamp_files("record", stamp(seal[SIGNATURE], **facts))
    return logged(record, seal) if log else seal


def whole(files: Files, record: bytes, seal: Files) -> Files:
    return files | {"record.json": record} | {f"seal/{name}": data for name, data in seal.items()}


def good(**changes: Any) -> Files:
    files = loose()
    record = record_of(files, **changes)
    return whole(files, record, sealed(record))


def packed(wacz: bytes) -> Files:
    """A capture whose maker put this package into it, and sealed it."""
    files = loose(wacz)
    record = record_of(files)
    return whole(files, record, sealed(record))


def raw_record(record: bytes) -> Files:
    """A capture with these bytes as its record, signed and sealed as they are."""
    return whole(loose(), record, sealed(record))


def stamped_with(**facts: Any) -> Files:
    files = loose()
    record = record_of(files)
    return whole(files, record, sealed(record, **facts))


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def flipped(data: bytes, at: int | None = None) -> bytes:
    place = len(data) // 2 if at is None else at
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


GOOD = good()
RECORD = GOOD["record.json"]
SEAL = {name.removeprefix("seal/"): data for name, data in GOOD.items() if name.startswith("seal/")}
SIG = SEAL[SIGNATURE]


def resealed(seal: Files) -> Files:
    return whole(loose(), RECORD, seal)


def main() -> None:
    """Write the corpus anew."""
    from tests.vectors.added_cases import added_cases
    from tests.vectors.cases import all_cases

    root = HERE / "corpus"
    shutil.rmtree(root, ignore_errors=True)
    count = 0
    for case in (*all_cases(), *added_cases()):
        case.write(root)
        count += 1
    sys.stdout.write(f"{count} cases in {root}\n")


if __name__ == "__main__":
    # Under its own name, so that the cases and this module share one set of keys.
    from tests.vectors.make import main as make

    make()
