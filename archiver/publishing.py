"""The newest checkpoint of a log, copied to where whoever keeps the store cannot change it.

Once a day to each place that the setting ``publish`` names: by every run, by ``archiver seal``, and by
``archiver log publish`` from cron, whichever comes first. When it went where lies in the state folder.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from archiver.config import Settings
from archiver.errors import EnvironmentUnfit
from manifests.checkpoint import Checkpoint
from manifests.http_fetch import FetchError, fetch
from manifests.ots_client import CalendarUnavailable, anchor
from storage.errors import StoreError
from storage.open import open_store

MAX_ANSWER_BYTES = 64 * 1024
DAY_S = 24 * 3600


def publish_checkpoint(checkpoint: Checkpoint, identity: str, destination: str, calendar: str) -> list[str]:
    """Send *checkpoint* to one destination; returns what was written, by name.

    Args:
        checkpoint: The newest of the log.
        identity: The store's ID, which names the copy.
        destination: A folder, ``s3://bucket/prefix``, or an ``http(s)://`` address that takes a POST.
        calendar: OpenTimestamps calendar that is to anchor it, or empty; its proof goes to the same place.

    Raises:
        EnvironmentUnfit: E293, the destination did not take it.
        CalendarUnavailable: The calendar gave no proof.
        StoreError: The store did not take it.
    """
    name = f"checkpoint-{identity}-{checkpoint.size:012d}.txt"
    files = {name: checkpoint.note}
    if calendar:
        files[f"{name}.ots"] = anchor(checkpoint.note, calendar)
    for title, data in files.items():
        _send(destination, title, data)
    return [f"{destination.rstrip('/')}/{title}" for title in files]


def publish_due(
    checkpoint: Checkpoint, identity: str, settings: Settings, folder: Path
) -> tuple[list[str], list[str]]:
    """Send *checkpoint* to each place of the settings that got none for a day.

    Args:
        checkpoint: The newest of the log; an empty log is not published.
        identity: The store's ID.
        settings: Its ``publish`` and ``publish_calendar``.
        folder: Remembers, by the times of its files, when each place got one.

    Returns:
        What was written, and why a place did not take it; that one is tried again by the next run.
    """
    written: list[str] = []
    problems: list[str] = []
    for destination in settings.publish if checkpoint.size else ():
        name = hashlib.sha256(destination.encode()).hexdigest()[:16]
        mark = folder / f"{identity}-{name}"
        if mark.exists() and abs(time.time() - mark.stat().st_mtime) < DAY_S:
            continue
        try:
            written += publish_checkpoint(checkpoint, identity, destination, settings.publish_calendar)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
        except (EnvironmentUnfit, CalendarUnavailable, StoreError, OSError) as error:
            problems.append(f"checkpoint not published: {error}")
    return written, problems


def _send(destination: str, title: str, data: bytes) -> None:
    if destination.startswith("s3://"):
        # The nonce of an anchor makes each proof another: a second one of a day is kept beside the first.
        open_store(destination).put(f"checkpoints/{title}", data)
        return
    try:
        if destination.startswith(("http://", "https://")):
            fetch(destination, data, "text/plain; charset=utf-8", MAX_ANSWER_BYTES)
        else:
            folder = Path(destination)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / title).write_bytes(data)
    except (OSError, FetchError) as error:
        raise EnvironmentUnfit(
            f"checkpoint for {destination}: expected it to be taken, got {error}",
            code="E293",
            hint="check the destination; the checkpoint itself stays in the store",
        ) from error
