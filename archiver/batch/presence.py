"""Which workers are alive: each holds the lock of a file, which the kernel lets go of when it ends.

A lock needs no clock, so neither a wrong clock nor a suspended laptop makes two workers do one job. Beats
stand for the one case a lock cannot show: a worker that is there and does nothing any more.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BEAT_S = 5
SILENT_S = 600
"""A worker that has not beaten for so long has hung. A page may take far less, disk and store included."""


class Presence:
    """One worker's sign of life.

    Args:
        folder: Of the lock files; is made.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.worker = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._path = _path(folder, self.worker)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        """Stop being there."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def dead_of(folder: Path, workers: Iterable[str]) -> list[str]:
    """Return those of *workers* whose process has ended, and remove their files."""
    return [worker for worker in workers if _is_dead(_path(folder, worker))]


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _path(folder: Path, worker: str) -> Path:
    return folder / f"{worker}.lock"


@dataclass(slots=True)
class Silence:
    """Finds workers that no longer beat, by the watcher's own monotonic time. Rules only."""

    heard: dict[str, tuple[int, float]] = field(default_factory=dict)

    def silent(self, beats: Mapping[str, int], now_s: float) -> list[str]:
        """Take in the *beats* of the other workers and return those silent for ``SILENT_S``."""
        self.heard = {
            worker: self.heard[worker]
            if worker in self.heard and self.heard[worker][0] == count
            else (count, now_s)
            for worker, count in beats.items()
        }
        return [worker for worker, (_, since) in self.heard.items() if now_s - since >= SILENT_S]
