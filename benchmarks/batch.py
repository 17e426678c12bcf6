"""What a batch withstands, and what it costs beside the captures themselves.

``kills``: local pages, the program killed with SIGKILL at random moments of the whole run, mostly while pages
are loading, and started again each time; then every page is counted in the store, and every browser process.

``memory``: peak memory of our own process over a register of 100, 1,000 and 10,000 rows, and how long a
register of 50,000 takes until the first page; captures are made up there, queue, catalogue and view are not.
"""

from __future__ import annotations

import argparse
import csv
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ARCHIVER = Path(sys.executable).with_name("archiver")
HOSTS = 12
LATEST_S = 1.0
"""A kill comes at most so long after a page was asked for: about as long as a small page takes to load."""
PATIENCE_S = 600
"""A run that asks for no page for so long hangs."""
STUB = "benchmarks.batch_stub"


@dataclass(frozen=True, slots=True)
class Survived:
    """What was found after the last run.

    Args:
        pages: In the register.
        kills: That hit a living run.
        complete: Captures of each page that are complete: how many pages have how many.
        interrupted: Captures that a kill cut off, kept as such.
        browsers: Processes of browsers that are left.
        spools: Captures in the making that are left.
        lost: Kills after which the queue had to be begun anew.
        exit_code: Of the last run.
        seconds: In all.
        told: The end of what the last run said.
    """

    pages: int
    kills: int
    complete: dict[int, int]
    interrupted: int
    browsers: int
    spools: int
    lost: int
    exit_code: int
    seconds: float
    told: str = ""


class _Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Pages

    def do_GET(self) -> None:
        self.server.count()
        body = f"<!doctype html><title>{self.path}</title><h1>Page {self.path}</h1>{'<p>text' * 200}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class Pages(http.server.ThreadingHTTPServer):
    """Small pages under any name and path, and how many were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.asked = 0
        self._changed = threading.Condition()

    def count(self) -> None:
        """One more was asked for."""
        with self._changed:
            self.asked += 1
            self._changed.notify_all()

    def wait_for(self, asked: int, timeout_s: float) -> bool:
        """Wait until so many were asked for in all; False when they were not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.asked >= asked, timeout_s)

    def handle_error(self, *_: object) -> None:
        """A killed browser resets its connections; that is what is measured."""


@contextmanager
def pages() -> Iterator[Pages]:
    """Serve pages."""
    server = Pages()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def write_register(path: Path, count: int) -> None:
    """Write a register of *count* rows over some hosts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["incident_id", "url", "note"])
        rows = range(count)
        writer.writerows([f"T-{n % 50}", f"http://h{n % HOSTS}.pages.test/{n}", "замечание"] for n in rows)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nothing of this machine's installation is seen or touched."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIVER_")}
    homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "STATE")}
    return (
        kept
        | homes
        | {
            "TMPDIR": str(temporary),
            "ARCHIVER_SPOOL": str(folder / "spool"),
            "ARCHIVER_NTP_SERVERS": "",
            "ARCHIVER_BATCH_HOST_GAP_MS": "0",
        }
    )


def kill_and_go_on(folder: Path, count: int, kills: int, source: random.Random) -> Survived:
    """Run a batch, kill it *kills* times at random moments spread over all of it, and count.

    A moment is told by the pages asked for, since no two machines load as many in a second.

    Args:
        folder: Empty; everything lies below it, and the browser's user can enter it.
        count: Pages, several for each kill.
        kills: That are tried; a run that ends before its kill ends the series.
        source: Of the moments.
    """
    register = folder / "register.csv"
    write_register(register, count)
    began, hits, lost = time.monotonic(), 0, 0
    with pages() as server:
        command = [
            str(ARCHIVER), "batch", str(register), "--store", str(folder / "store"), "--jobs", "3", "--json",
            "--resolve", f"*.pages.test:80:127.0.0.1:{server.server_port}", "--allow-private-network",
        ]  # fmt: skip
        for _ in range(kills):
            pages_until = max(1, round(source.uniform(0.5, 1.5) * count / (kills + 1)))
            with subprocess.Popen(
                command, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as run:
                if _is_under_way(run, server, server.asked + pages_until):
                    time.sleep(source.uniform(0, LATEST_S))
                    run.send_signal(signal.SIGKILL)
                    hits += 1
                lost += b"begun anew" in (run.communicate()[1] or b"")
            if run.returncode != -signal.SIGKILL:
                break
        last = subprocess.run(command, env=environment(folder), capture_output=True, check=False)
    found = Counter[str]()
    interrupted = 0
    for record in (folder / "store" / "captures").glob("*/record.json"):
        told = json.loads(record.read_bytes())
        if told["completeness"]["state"] == "interrupted":
            interrupted += 1
        else:
            found[told["seed"]["url"]] += 1
    times = Counter(found[f"http://h{n % HOSTS}.pages.test/{n}"] for n in range(count))
    return Survived(
        count,
        hits,
        dict(times),
        interrupted,
        len(processes(str(folder / "tmp"))),
        sum(1 for _ in (folder / "spool").glob("2*")),
        lost,
        last.returncode,
        round(time.monotonic() - began, 1),
        last.stderr[-600:].decode(errors="replace"),
    )


def _is_under_way(run: subprocess.Popen[bytes], server: Pages, asked: int) -> bool:
    """Wait until so many pages were asked for; False when the run ended before."""
    until = time.monotonic() + PATIENCE_S
    while not server.wait_for(asked, 0.2):
        if run.poll() is not None:
            return False
        if time.monotonic() > until:
            run.kill()
            raise TimeoutError(
                f"batch: expected {asked} pages asked for, got {server.asked} in {PATIENCE_S} s"
            )
    return run.poll() is None


def processes(text: str) -> list[int]:
    """Return the processes whose command line holds *text*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def stub_batch(folder: Path, count: int) -> dict[str, float]:
    """Run a batch of made-up captures in a process of its own; its peak memory in MB and its times."""
    register = folder / f"{count}.csv"
    write_register(register, count)
    command = [sys.executable, "-m", STUB, str(register), str(folder / f"store-{count}")]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"stub batch: expected exit code 0, got {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["kills", "memory"])
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the browser is another user
        if asked.what == "kills":
            print(kill_and_go_on(folder, asked.pages, asked.kills, random.Random(asked.seed)))
            return
        for count in (100, 1_000, 10_000, 50_000):
            print(count, stub_batch(folder, count))


if __name__ == "__main__":
    main()
