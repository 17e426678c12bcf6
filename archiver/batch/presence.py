"""Which runs are alive: each holds the lock of a file of its own, which the kernel lets go of when it ends.

A lock needs no clock, so neither a wrong clock nor a suspended laptop makes two runs do one job. Beats
stand for the one case a lock cannot show: a run that is there and does nothing any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BEAT_S = 5
SILENT_S = 600
"""A run that has not beaten for so long has hung. Far more than a page may take, disk and store included."""


class Presence:
    """One run's sign of life.

    Args:
        folder: Of the lock files; is made.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run_id = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._folder = folder
        self._path = folder / f"{self.run_id}.lock"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        """Stop being there."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def dead(self, run_ids: Iterable[str]) -> list[str]:
        """Return those of *run_ids* whose process has ended, and remove their files."""
        return [run_id for run_id in run_ids if run_id != self.run_id and self._is_dead(run_id)]

    def _is_dead(self, run_id: str) -> bool:
        path = self._folder / f"{run_id}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return True
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class Silence:
    """Finds runs that no longer beat, by the watcher's own monotonic time. Rules only."""

    heard: dict[str, tuple[int, float]] = field(default_factory=dict)

    def silent(self, beats: Mapping[str, int], now_s: float) -> list[str]:
        """Take in the *beats* of the other runs and return those silent for ``SILENT_S``."""
        self.heard = {
            run_id: self.heard[run_id]
            if run_id in self.heard and self.heard[run_id][0] == count
            else (count, now_s)
            for run_id, count in beats.items()
        }
        return [run_id for run_id, (_, since) in self.heard.items() if now_s - since >= SILENT_S]
