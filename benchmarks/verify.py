"""How fast evidence is verified, how the custody log grows, and what sealing costs.

- verify: captures of one 10 MB response each, in a folder, against ``sha256sum`` and ``b3sum`` over the same.
- log: append rate, cold inclusion proofs and their verification, in memory.
- sealing: milliseconds for each capture of a batch, and requests made to the (test) authority.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.custody import StoreLog
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from archiver.sealing import Sealer, seal
from archiver.tsa_server import serve
from manifests.codec import encode
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import MAX_BATCH_ENTRIES, CustodyLog
from manifests.digests import digest_bytes, digest_stream
from manifests.evidence_set import FolderSet
from manifests.keys import FileSigner
from manifests.tlog_proof import verify_log_proof
from manifests.trust import Trust, TrustedAuthority, TrustedKey
from manifests.verifier import verify_capture
from storage.folder import FolderStore
from storage.memory import MemoryStore
from tests.unit.manifests.records import artifact, record

MB = 1_000_000
AT = dt.datetime(2026, 11, 24, 8, 12, 3, tzinfo=dt.UTC)


def make_capture(folder: Path, number: int, size: int) -> str:
    """Write one capture with a response of *size* random bytes; returns its ID."""
    capture_id = f"20261124t081203z-{number:010d}"
    target = folder / "captures" / capture_id
    target.mkdir(parents=True)
    data = os.urandom(size)
    found = digest_bytes(data).sha256
    ns = int(AT.timestamp()) * 10**9
    exchange = Exchange(
        connection=1,
        stream=None,
        url="https://news.example/a",
        method="GET",
        protocol="http/1.1",
        request_head=b"GET /a HTTP/1.1\r\n\r\n",
        request_body=None,
        response_head=b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n",
        response_body=Body(io.BytesIO(data), size, found, found),
        started_at_ns=ns,
        response_at_ns=ns,
        finished_at_ns=ns,
        ip="192.0.2.7",
        port=443,
        tls=True,
    )
    warc = target / "data.warc.gz"
    with WarcWriter(warc, filename=warc.name, info={"software": "bench"}, created_at=AT) as writer:
        entries = writer.write_exchange(exchange)
    page = Page(url=exchange.url, at=AT, title="", text="")
    write_wacz(target / "capture.wacz", warc, entries, [page], title="b", created_at=AT, software="bench")
    warc.unlink()
    with (target / "capture.wacz").open("rb") as file:
        digests = digest_stream(file)
    listed = artifact(
        role="package",
        path="capture.wacz",
        media_type="application/wacz+zip",
        bytes=digests.bytes,
        sha256=digests.sha256,
        blake3=digests.blake3,
    )
    now = dt.datetime.now(dt.UTC)
    names = ("requested_at", "started_at", "finished_at", "created_at")
    times = dict.fromkeys(names, f"{now:%Y-%m-%dT%H:%M:%S}.000Z")
    made = record(capture_id=capture_id, artifacts=(listed,), **times)
    (target / "record.json").write_bytes(encode(made))
    return capture_id


def bench_verify(folder: Path, captures: int, size: int) -> None:
    ids = [make_capture(folder, number, size) for number in range(captures)]
    files = sorted(str(path) for path in folder.rglob("*.wacz"))
    total = sum(Path(path).stat().st_size for path in files)
    begun = time.perf_counter()
    for tool in ("sha256sum", "b3sum"):
        subprocess.run([tool, *files], stdout=subprocess.DEVNULL, check=True)
    baseline = time.perf_counter() - begun
    begun = time.perf_counter()
    for capture_id in ids:
        report = verify_capture(FolderSet(folder / "captures" / capture_id), capture_id)
        assert report.verdicts, capture_id
    ours = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"verify {captures} captures, {total / MB:.0f} MB: {ours:.2f} s; the two tools: {baseline:.2f} s;",
        end=" ",
    )
    print(f"{baseline / ours:.2f} times their speed; {peak} MB of memory at most")


def bench_log(entries: int) -> None:
    signer = FileSigner(Ed25519PrivateKey.generate())
    log = CustodyLog(StoreLog(MemoryStore()), "bench/log", signer)
    events = [encode_event(new_event("captured", "bench")) for _ in range(MAX_BATCH_ENTRIES)]
    begun = time.perf_counter()
    for _ in range(0, entries, len(events)):
        events = [encode_event(new_event("captured", "bench")) for _ in range(len(events))]
        log.append(events)
    took = time.perf_counter() - begun
    head = log.head()
    step = max(1, head.size // 200)
    proofs, checks = [], []
    for index in range(0, head.size, step):
        begun = time.perf_counter()
        proof = log.prove(index, head)
        proofs.append((time.perf_counter() - begun) * 1000)
        (_, entry) = next(log.entries(head, index))
        begun = time.perf_counter()
        assert verify_log_proof(entry, proof, [log.key]).event is not None
        checks.append((time.perf_counter() - begun) * 1000)
    p95 = lambda values: statistics.quantiles(values, n=20)[18]  # noqa: E731
    print(f"log of {head.size}: {head.size / took:.0f} appended/s; proof p95 {p95(proofs):.1f} ms;", end=" ")
    print(f"verified p95 {p95(checks):.2f} ms")


def bench_sealing(folder: Path, captures: int) -> None:
    ids = [make_capture(folder, number, 20_000) for number in range(captures)]
    store = FolderStore(folder)
    signer = FileSigner(Ed25519PrivateKey.generate())
    with serve(folder / ".tsa") as authority:
        log = CustodyLog(StoreLog(store), "bench/log", signer)
        trusted = TrustedAuthority("test", authority.url, authority.root)
        trust = Trust((TrustedKey("bench", signer.public_key),), (trusted,), (log.key,))
        begun = time.perf_counter()
        done = list(seal(Sealer(store, log, signer, trust, folder / ".staging", "bench"), ids))
        took = time.perf_counter() - begun
        requests = int((authority.state_dir / "serial").read_text(), 16) - 1
    states = {one.state.value for one in done}
    print(f"seal {captures} captures ({', '.join(states)}): {took / captures * 1000:.1f} ms each,", end=" ")
    print(f"{requests} request(s) to the authority")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captures", type=int, default=200)
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        bench_verify(Path(one), options.captures, 10 * MB)
        bench_sealing(Path(two), 100)
    bench_log(options.entries)


if __name__ == "__main__":
    main()
