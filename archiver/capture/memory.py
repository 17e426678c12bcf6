"""Keeps the browser's processes together under a memory budget, by ending the largest of them.

Counted is what a process holds that is not a mapped file (``RssAnon`` and ``RssShmem`` of proc(5)), which any
user may read. Ending a renderer crashes the one page that ate the memory; the browser lives on for the
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

PERIOD_S = 1.0
_PROC = Path("/proc")
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


def held_bytes(pid: int) -> int:
    """Return the memory that a process holds without mapped files, or 0 when it has ended."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    return sum(int(kib) * 1024 for kib in _HELD.findall(status))


@dataclass
class MemoryWatch:
    """Looks at one browser every second, from ``start`` to ``close``; where there is no /proc, never.

    Args:
        marker: Text that only the command line of this browser's main process holds.
        limit_bytes: For its processes together.

    Attributes:
        peak_bytes: Most that was seen.
        ended_count: Processes that were ended for the budget.
    """

    marker: str
    limit_bytes: int
    peak_bytes: int = 0
    ended_count: int = 0
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
        """Measure once; when all hold too much, end the largest. False when the browser is gone."""
        # Looked up each time: a number that was freed may soon be that of a stranger.
        root = find_browser_process(self.marker)
        if root is None:
            return False
        held = {pid: held_bytes(pid) for pid in process_tree(root)}
        total = sum(held.values())
        self.peak_bytes = max(self.peak_bytes, total)
        if total > self.limit_bytes:
            self.ended_count += 1
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(max(held, key=lambda pid: held[pid]), signal.SIGKILL)
        return True
