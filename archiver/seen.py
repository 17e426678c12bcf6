"""The newest checkpoint of each custody log that this installation has seen.

A log that was cut back to an earlier state, or another one in its place, is whole in itself. Only who has
seen more can tell. One file a log in ``$XDG_STATE_HOME/archiver/checkpoints``; a store that was put back
from an older copy on purpose is accepted again when its file there is removed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from archiver.errors import EnvironmentUnfit
from manifests.checkpoint import MAX_NOTE_BYTES, Checkpoint, LogKey, open_checkpoint
from manifests.proof import ProofError


class SeenCheckpoints:
    """The memory of this installation.

    Args:
        folder: Where the files lie; made when something is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, origin: str) -> Path:
        """Where the checkpoint of a log is kept."""
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.txt"

    def recall(self, key: LogKey) -> Checkpoint | None:
        """The newest checkpoint of a log that was seen, or None.

        Raises:
            EnvironmentUnfit: E168, what is remembered is no checkpoint of this log.
        """
        path = self.path(key.origin)
        try:
            with path.open("rb") as file:
                return open_checkpoint(file.read(MAX_NOTE_BYTES + 1), key)
        except FileNotFoundError:
            return None
        except (OSError, ProofError) as error:
            raise EnvironmentUnfit(
                f"remembered checkpoint {path}: expected one of log {key.origin}, got {error}",
                code="E168",
                hint="find out why, compare the log with a published checkpoint, then remove the file",
            ) from error

    def remember(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint that was seen to extend the one before.

        Raises:
            EnvironmentUnfit: E167, the folder cannot be written.
        """
        path = self.path(checkpoint.origin)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_bytes(checkpoint.note)
            part.replace(path)
        except OSError as error:
            raise EnvironmentUnfit(
                f"remembered checkpoint {path}: expected a folder that can be written, got {error.strerror}",
                code="E167",
                hint="set XDG_STATE_HOME to a folder of your own",
            ) from error
