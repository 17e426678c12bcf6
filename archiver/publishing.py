"""The newest checkpoint of a log, copied to where whoever keeps the store cannot change it."""

from __future__ import annotations

from pathlib import Path

from archiver.errors import EnvironmentUnfit
from manifests.checkpoint import Checkpoint
from manifests.http_fetch import FetchError, fetch
from manifests.ots_client import anchor
from storage.open import open_store

MAX_ANSWER_BYTES = 64 * 1024


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
