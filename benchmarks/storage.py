"""What our stores cost against the tools that everybody has, in one run: ``python -m benchmarks.storage``.

Each row is a ratio to a baseline that ran in turn with it, medians of ``--rounds``:

- ``audit of a folder``: both digests of every file in one read, against ``sha256sum`` and ``b3sum`` on the
  same files one after the other, and against ``sha256sum`` alone; memory of the audit.
- ``put``, ``get`` of small objects with 16 in flight, and of one large object: our store, with digests and
  create-only writes, against boto3's own ``upload_fileobj`` and ``download_fileobj`` (``aws s3 cp`` for the
  large one, where installed) on the same S3 server.
- ``listing an incident`` and ``reindex`` among many captures: seconds and memory.

``--scale 1`` are the sizes of the full benchmark: 20 GB, 1,000 objects of 64 KiB, 1 GB, 100,000 captures.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archiver.catalogue import Catalogue
from archiver.preservation.auditing import Extent, Progress, audit_store
from archiver.s3_server import LocalS3, start_s3
from archiver.storing import begin_store, store_capture
from archiver.summary import load_summary
from manifests.codec import encode
from storage.folder import FolderStore
from storage.open import open_store
from tests.unit.archiver.preservation.lab import _listed
from tests.unit.manifests.records import record

MB = 1_000_000
SMALL_BYTES = 64 * 1024
IN_FLIGHT = 16
PORT = 28_333


class Rows:
    """Collects seconds by name and prints ratios."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        self.seconds[name].append(time.perf_counter() - began)

    def tell(self, title: str, ours: str, base: str, amount_mb: float) -> None:
        mine, other = (statistics.median(self.seconds[name]) for name in (ours, base))
        best, other_best = (min(self.seconds[name]) for name in (ours, base))
        print(
            f"{title}: {other / mine:.2f} x the speed of {base} "
            f"({amount_mb / mine:,.0f} against {amount_mb / other:,.0f} MB/s); "
            f"best of each {other_best / best:.2f} x",
            flush=True,
        )


def peak_mb() -> float:
    """The most memory of this process since ``forget_peak``."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def capture_id(number: int) -> str:
    return f"20261124t{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}z-{number:010d}"


def put(store, number: int, incident: str, files: dict[str, bytes]) -> None:
    one = record(
        capture_id=capture_id(number),
        incident_ids=(incident,),
        artifacts=tuple(_listed(name, data) for name, data in files.items()),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        store_capture(store, Path(folder), one, encode(one))


def audit_rows(folder: Path, scale: float, rounds: int) -> None:
    store = FolderStore(folder / "audited")
    begin_store(store)
    total = int(20_000 * MB * scale)
    each = min(50 * MB, total)
    for number in range(total // each):
        put(store, number, "KZ-1", {"screenshot-full.png": os.urandom(each)})
    paths = [str(store.root / info.key) for info in store.list("captures/") if info.size_bytes == each]
    rows = Rows()

    def ours() -> None:
        progress = Progress()
        audit_store(store, (), Extent(1000, "seed"), progress, mend=False)
        assert progress.findings == []

    def base(*names: str) -> None:
        for name in names:
            subprocess.run([name, *paths], stdout=subprocess.DEVNULL, check=True)

    forget_peak()
    for _ in range(rounds):
        rows.time("ours", ours)
        rows.time("sha256sum and b3sum", lambda: base("sha256sum", "b3sum"))
        rows.time("sha256sum alone", lambda: base("sha256sum"))
        rows.time("b3sum alone", lambda: base("b3sum"))
    size_mb = len(paths) * each / MB
    for name in ("sha256sum and b3sum", "sha256sum alone", "b3sum alone"):
        rows.tell(f"audit of a folder of {size_mb:,.0f} MB", "ours", name, size_mb)
    print(f"  peak of memory {peak_mb():,.0f} MB")


def small_rows(store, client, scale: float, rounds: int) -> None:
    count = max(IN_FLIGHT, int(1_000 * scale))
    bodies = [os.urandom(SMALL_BYTES) for _ in range(count)]
    rows = Rows()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:

        def all_of(work: Callable[[int], object]) -> Callable[[], object]:
            return lambda: list(pool.map(work, range(count)))

        for _ in range(rounds):
            run = secrets.token_hex(4)
            name = f"{store.prefix}base/{run}"
            rows.time("ours, put", all_of(lambda n, run=run: store.put(f"ours/{run}/{n}", bodies[n])))
            rows.time(
                "boto3, put",
                all_of(
                    lambda n, name=name: client.upload_fileobj(
                        io.BytesIO(bodies[n]), store.bucket, f"{name}/{n}"
                    )
                ),
            )
            rows.time("ours, get", all_of(lambda n, run=run: store.open(f"ours/{run}/{n}").read()))
            rows.time(
                "boto3, get",
                all_of(
                    lambda n, name=name: client.download_fileobj(store.bucket, f"{name}/{n}", io.BytesIO())
                ),
            )
    for act in ("put", "get"):
        title = f"{act} of {count:,} objects of 64 KiB"
        rows.tell(title, f"ours, {act}", f"boto3, {act}", count * SMALL_BYTES / MB)


def large_rows(store, client, folder: Path, scale: float, rounds: int) -> None:
    size = int(1_000 * MB * scale)
    path = folder / "large"
    path.write_bytes(os.urandom(size))
    rows = Rows()

    def ours_get(key: str) -> None:
        with store.open(key) as source, (folder / "back").open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    bases = ["boto3"]
    for _ in range(rounds):
        run = secrets.token_hex(4)
        name = f"{store.prefix}large-base/{run}"
        rows.time("ours, put", lambda run=run: store.put(f"large/{run}/ours", path))
        rows.time("boto3, put", lambda name=name: client.upload_file(str(path), store.bucket, name))
        rows.time("ours, get", lambda run=run: ours_get(f"large/{run}/ours"))
        rows.time("boto3, get", lambda name=name: client.download_file(store.bucket, name, folder / "back"))
        if shutil.which("aws"):
            bases = ["boto3", "aws s3 cp"]
            url = f"s3://{store.bucket}/{name}-aws"
            for act, ways in (("put", [str(path), url]), ("get", [url, str(folder / "back")])):
                words = ["aws", "s3", "cp", "--quiet", *ways]
                rows.time(f"aws s3 cp, {act}", lambda words=words: subprocess.run(words, check=True))
    for act in ("put", "get"):
        for base in bases:
            rows.tell(f"{act} of {size / MB:,.0f} MB", f"ours, {act}", f"{base}, {act}", size / MB)


def catalogue_rows(folder: Path, scale: float) -> None:
    count = int(100_000 * scale)
    store = FolderStore(folder / "many")
    begin_store(store)
    model = record(capture_id=capture_id(0), incident_ids=("KZ-0000",))
    for number in range(count):
        _put_bare(store, number, encode(model))
    catalogue = Catalogue(folder / "catalogue.sqlite")
    forget_peak()
    before, began = peak_mb(), time.perf_counter()
    catalogue.sync(store.list_folders("captures/"), lambda one: load_summary(store, one))
    seconds = time.perf_counter() - began
    print(f"reindex of {count:,} captures: {seconds:.1f} s, {peak_mb() - before:,.0f} MB more")
    began = time.perf_counter()
    found = list(catalogue.find(incident_id="KZ-0007"))
    print(f"an incident of {len(found)} captures from the catalogue: {time.perf_counter() - began:.3f} s")
    began = time.perf_counter()
    catalogue.sync(store.list_folders("captures/"), lambda one: load_summary(store, one))
    print(f"looking first whether the catalogue is up to date: {time.perf_counter() - began:.3f} s")
    began = time.perf_counter()
    listed = list(store.list("incidents/KZ-0007/"))
    print(f"an incident of {len(listed)} captures from the store: {time.perf_counter() - began:.3f} s")
    assert len(listed) == len(found)
    catalogue.close()


def _put_bare(store: FolderStore, number: int, model: bytes) -> None:
    """Write a capture's record and link past the store, whose durability is not what is measured here."""
    incident, name = f"KZ-{number % 1000:04d}", capture_id(number)
    own = model.replace(capture_id(0).encode(), name.encode()).replace(b"KZ-0000", incident.encode())
    for key, data in (
        (f"captures/{name}/record.json", own),
        (f"incidents/{incident}/{name}.json", b"{}"),
    ):
        path = store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def s3_rows(folder: Path, server: LocalS3, scale: float, rounds: int) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(server.environment())
    store = open_store("s3://benchmark/run")
    store.client.create_bucket(Bucket=store.bucket)
    store.put("first", b"so that the probes are done")
    small_rows(store, store.client, scale, rounds)
    large_rows(store, store.client, folder, scale, rounds)


def main() -> None:
    """Run every row."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--scale", type=float, default=0.1)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    options.add_argument("--only", choices=["audit", "s3", "catalogue"], default=None)
    given = options.parse_args()
    print(
        f"scale {given.scale:g}, {given.rounds} rounds, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        if given.only in {None, "audit"}:
            audit_rows(folder, given.scale, given.rounds)
        if given.only in {None, "s3"}:
            server = start_s3(folder / "s3", PORT)
            try:
                s3_rows(folder, server, given.scale, given.rounds)
            finally:
                server.stop()
        if given.only in {None, "catalogue"}:
            catalogue_rows(folder, given.scale)


if __name__ == "__main__":
    sys.exit(main())
