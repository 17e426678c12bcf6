"""Keeps the browser's processes within their budgets of memory and threads, by ending the worst of them.

Counted is what a process holds that is not a mapped file (``RssAnon`` and ``RssShmem`` of proc(5)), which any
user may read; all processes together, and the largest is ended. Threads are counted per process: each worker
of a page is one. Ending a renderer crashes the one page that went too far; the browser lives on for the
others. Only when the browser's own process is the largest everything on it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.capture.limits import Limits

PERIOD_S = 1.0
_PROC = Path("/proc")
_THREADS = re.compile(r"^Threads:\s+([0-9]+)$", re.MULTILINE)
_HELD = re.compile(r"^(?:RssAnon|RssShmem):\s+([0-9]+) kB$", re.MULTILINE)


def find_browser_process(marker: str) -> int | None:
    """Return the process whose command line names *marker*, such as the path of its key log."""
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (entry / "cmdline").read_bytes():
                return int(entry.name)
    return None


def process_tree(root: int) -> set[int]:
    """Return *root* and its descendants, as far as they live."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in brackets may hold anything; the parent is the second field after it.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = {root}, [root]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


@dataclass(frozen=True, slots=True)
class Load:
    """What one process takes: memory without mapped files, and threads. Nothing once it has ended."""

    held_bytes: int = 0
    threads: int = 0


def load_of(pid: int) -> Load:
    """Read what process *pid* takes."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return Load()
    threads = _THREADS.search(status)
    return Load(sum(int(kib) * 1024 for kib in _HELD.findall(status)), int(threads[1]) if threads else 0)


@dataclass
class ProcessWatch:
    """Looks at one browser every second, from ``start`` to ``close``; where there is no /proc, never.

    Args:
        marker: Text that only the command line of this browser's main process holds.
        limits: Budgets of memory and threads.

    Attributes:
        ended: For each process that was ended, the name of the budget.
    """

    marker: str
    limits: Limits
    ended: list[str] = field(default_factory=list)
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while await asyncio.to_thread(self.look):  # noqa: ASYNC110 - nobody tells when memory is taken
            await asyncio.sleep(PERIOD_S)

    def look(self) -> bool:
        """Measure once, and end what takes too much. False when the browser is gone."""
        # Looked up each time: a number that was freed may soon be that of a stranger.
        root = find_browser_process(self.marker)
        if root is None:
            return False
        loads = {pid: load_of(pid) for pid in process_tree(root)}
        if sum(load.held_bytes for load in loads.values()) > self.limits.browser_memory_bytes:
            self._end(max(loads, key=lambda pid: loads[pid].held_bytes), "browser_memory_bytes")
        for pid, load in loads.items():
            # No page makes threads in the browser's own process; many captures at once do.
            if pid != root and load.threads > self.limits.process_threads:
                self._end(pid, "process_threads")
        return True

    def _end(self, pid: int, limit: str) -> None:
        self.ended.append(limit)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
