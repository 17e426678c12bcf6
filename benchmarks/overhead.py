"""What recording costs: our wall and CPU seconds against bare Playwright on the same local page, in one run.

Rows, each a ratio to bare Playwright (goto, network idle, full-page screenshot), medians:

- ``plain again``: bare Playwright once more; how far it is from 1 is the noise of this machine.
- ``page load``: goto and network idle through the recorder, against goto and network idle alone.
- ``whole capture``: all exhibits, WACZ, record and store, against the bare loop.
- ``short page``: the same of a page of one screen, where what every capture costs weighs most.
- ``50 MB body``: a page that fetches one, its load through the recorder against its load alone.
- ``batch of 20``: 2 jobs against the bare loop with 2 contexts.

Memory is the most that any process of ours held at once (VmHWM: run, relay, packers) after captures of the
50 MB body and of a brotli bomb of 100 MB; browser and driver are not ours.

CPU counts this process and everything it started but the web server: browser, driver, relay, packer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

from archiver import pipeline
from archiver.capture.activity import Activity
from archiver.capture.rig import policy_for
from archiver.config import load_settings
from archiver.egress import policy_of
from archiver.incidents.register import Seed
from archiver.progress import Progress
from storage.open import open_store

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(but: int) -> float:
    """CPU of this process and its descendants, those that ended included, without process *but*."""
    parents, used = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / TICKS
    total = 0.0
    for pid, seconds in used.items():
        line = pid
        while line not in {os.getpid(), but, 0, 1}:
            line = parents.get(line, 0)
        total += seconds if line == os.getpid() else 0
    return total


class Meter:
    """Collects wall and CPU seconds by row."""

    def __init__(self, server: int) -> None:
        self.server = server
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    async def run(self, row: str, work) -> None:
        cpu, begun = cpu_seconds(self.server), time.perf_counter()
        await work
        self.wall[row].append(time.perf_counter() - begun)
        self.cpu[row].append(cpu_seconds(self.server) - cpu)

    def ratio(self, row: str, base: str) -> str:
        """Medians of *row* and *base* and their ratios."""
        wall, cpu = statistics.median(self.wall[row]), statistics.median(self.cpu[row])
        base_wall, base_cpu = statistics.median(self.wall[base]), statistics.median(self.cpu[base])
        low, high = min(self.wall[row]) / base_wall, max(self.wall[row]) / base_wall
        return (
            f"| {row} | {wall:.2f} | {wall / base_wall:.2f} ({low:.2f} to {high:.2f}) "
            f"| {cpu:.2f} | {cpu / base_cpu:.2f} |"
        )


def own_peaks(but: int) -> dict[str, int]:
    """MB that each Python process of this run held at most, without process *but*."""
    peaks = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text().split("\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            status = (entry / "status").read_text()
        except OSError:
            continue
        own = int(entry.name) == os.getpid() or parent == os.getpid()
        if own and int(entry.name) != but and "python" in Path(command[0]).name:
            name = "run" if int(entry.name) == os.getpid() else " ".join(command[1:3])[:40]
            peaks[f"{name} ({entry.name})"] = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024
    return peaks


async def plain(browser, url: str, *, shot: bool = True) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(url, wait_until="networkidle")
    if "large" in url:
        await page.wait_for_function("document.title == 'done'")
    if shot:
        await page.screenshot(full_page=True)
    await context.close()


async def recorded_load(run, url: str, folder: Path) -> None:
    async with run.rigs.one() as rig:
        tape = await rig.relay.open_tape(folder, policy_for(rig, policy_of(run.settings)))
        proxy = {"server": f"socks5://127.0.0.1:{tape.port}"}
        context = await rig.browser.new_context(viewport={"width": 1280, "height": 800}, proxy=proxy)
        Activity(context, run.settings.limits)
        page = await context.new_page()
        await page.goto(url, wait_until="networkidle")
        if "large" in url:
            await page.wait_for_function("document.title == 'done'")
        await context.close()
        await tape.close()


async def whole(run, url: str, phases: dict[str, list[float]]) -> None:
    begun = time.perf_counter()
    spool = await run.capture(Seed(url=url, incident_ids=("B-1",)))
    for step in spool.observed["actions"]:
        phases[step["kind"]].append(step["duration_ms"] / 1000)
    loaded = time.perf_counter()
    await run.finish(spool)
    phases["(browser part, all)"].append(loaded - begun)
    phases["(pack, store, index)"].append(time.perf_counter() - loaded)


async def bare_batch(browser, urls: list[str]) -> None:
    todo = iter(urls)

    async def worker() -> None:
        for url in todo:
            await plain(browser, url)

    await asyncio.gather(worker(), worker())


async def our_batch(run, urls: list[str]) -> None:
    seeds = iter([Seed(url=url, incident_ids=("B-2",)) for url in urls])
    async for _ in pipeline._everything(run, seeds, 2, repeat=True, register=""):
        pass


async def measure(rounds: int, batches: int, port: int, server: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    meter, phases = Meter(server), defaultdict(list)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        options = {
            "store": str(folder / "store"),
            "spool": str(folder / "spool"),
            "allow_private_network": True,
            # Bare Playwright is polite to nobody.
            "batch": {"host_gap_ms": 0, "pages_per_host": 32},
        }
        settings = load_settings(None, {}, options)
        store = open_store(settings.store)
        pipeline.begin_store(store)
        run = await pipeline._start(stack, store, settings, Progress(), 2)
        async with run.rigs.one() as rig:
            bare = await run.rigs._playwright.chromium.launch(
                executable_path=run.rigs._executable, chromium_sandbox=False, headless=True
            )
            stack.push_async_callback(bare.close)
            del rig
        await plain(bare, url)
        await whole(run, url, defaultdict(list))
        for number in range(rounds):
            await meter.run("plain", plain(bare, url))
            await meter.run("plain load", plain(bare, url, shot=False))
            await meter.run("page load", recorded_load(run, url, folder / f"wire{number}"))
            await meter.run("whole capture", whole(run, url, phases))
            await meter.run("plain again", plain(bare, url))
            await meter.run("plain short", plain(bare, url + "short"))
            await meter.run("short page", whole(run, url + "short", defaultdict(list)))
        for number in range(min(rounds, 3)):
            await meter.run("plain 50 MB", plain(bare, url + "large", shot=False))
            await meter.run("50 MB body", recorded_load(run, url + "large", folder / f"large{number}"))
        for page in ("large", "bomb"):
            await whole(run, url + page, defaultdict(list))
        peaks = own_peaks(server)
        for number in range(batches):
            urls = [f"{url}?{number}-{n}" for n in range(20)]
            await meter.run("plain batch", bare_batch(bare, urls))
            await meter.run("batch of 20", our_batch(run, urls))
    print(f"median of {rounds} ({batches} batches); ratios to the plain row (least to most)\n")
    print("| row | wall s | wall ratio | CPU s | CPU ratio |\n|---|---|---|---|---|")
    for row, base in (
        ("plain", "plain"),
        ("plain again", "plain"),
        ("page load", "plain load"),
        ("whole capture", "plain"),
        ("short page", "plain short"),
        ("50 MB body", "plain 50 MB"),
        ("batch of 20", "plain batch"),
    ):
        if meter.wall[row]:
            print(meter.ratio(row, base))
    print("\n| process of ours | MB at most |\n|---|---|")
    for name, peak in peaks.items():
        print(f"| {name} | {peak} |")
    print("\n| phase of the whole capture | median s |\n|---|---|")
    for name, values in phases.items():
        print(f"| {name} | {statistics.median(values):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-m", "benchmarks.page"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            asyncio.run(measure(options.rounds, options.batches, port, server.pid))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
