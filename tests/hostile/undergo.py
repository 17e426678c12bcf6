"""Runs ``archiver capture`` over hostile pages, and measures what our own processes take meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archiver.capture.processes import process_tree
from tests.browser.conftest import Bench
from tests.hostile.origin import MIB, Server

OUR_MEMORY_BYTES = 150 * MIB


@dataclass
class Run:
    """What a run made and took.

    Args:
        captures: By path of the page.
        told: What the command printed.
        stderr: Likewise.
        peak_bytes: Most memory that any of our own processes held, by what it does.
    """

    captures: dict[str, dict[str, Any]]
    told: dict[str, Any]
    stderr: str
    peak_bytes: dict[str, int]


def host_url(path: str) -> str:
    """Each page has a host of its own, so that the run need not be polite to any of them."""
    name = path.strip("/?").replace("?", "-")
    return f"http://{name}.hostile.example{path}"


def commands() -> dict[int, str]:
    """Command lines of all processes."""
    lines = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            lines[int(entry.name)] = line.decode("latin-1")
    return lines


def kind_of(line: str) -> str | None:
    """Which of our own processes this is; the browser and Playwright's driver are others' programs."""
    if "recorder.relay" in line:
        return "relay"
    if "spawn_main" in line:
        return "packer"
    return "main" if "archiver capture" in line else None


def watch(root: int, peak: dict[str, int], ended: threading.Event) -> None:
    while not ended.wait(0.25):
        lines = commands()
        for pid, line in ((pid, lines[pid]) for pid in process_tree(root) if pid in lines):
            if kind := kind_of(line):
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if "VmHWM:" in status:
                    kib = int(status.split("VmHWM:")[1].split()[0])
                    peak[kind] = max(peak.get(kind, 0), kib * 1024)


def kill_renderers(root: int) -> None:
    """Kill the processes of the run's browser that draw pages, as a fault in one would."""
    lines = commands()
    for pid in process_tree(root):
        if "--type=renderer" in lines.get(pid, ""):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def undergo(bench: Bench, origin: Server, *paths: str, jobs: int) -> Run:
    """Capture the pages in one process."""
    rule = f"*.hostile.example:80:127.0.0.1:{origin.server_port}"
    words = ["--incident", "T-1", "--resolve", rule, "--allow-private-network", "--jobs", str(jobs)]
    command = bench.command("capture", *map(host_url, paths), *words)
    peak: dict[str, int] = {}
    ended = threading.Event()
    with subprocess.Popen(
        command, env=bench.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        origin.kill = lambda: kill_renderers(run.pid)
        watcher = threading.Thread(target=watch, args=(run.pid, peak, ended))
        watcher.start()
        try:
            out, err = run.communicate(timeout=800)
        finally:
            ended.set()
            watcher.join()
            run.kill()
    told = json.loads(out)
    by_url = {one["url"]: one for one in told["captures"]}
    return Run({path: by_url[host_url(path)] for path in paths if host_url(path) in by_url}, told, err, peak)
