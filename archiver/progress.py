"""What a run tells whoever watches it. Does nothing by default; the command line plugs a display in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archiver.incidents.register import Seed
    from archiver.summary import CaptureSummary


class Progress:
    """Receives what happens, in the order it happens, from one thread. Must not raise."""

    def enrolled(self, count: int) -> None:
        """*count* more seeds belong to the run."""

    def started(self, seed: Seed) -> None:
        """The capture of *seed* begins."""

    def phase(self, seed: Seed, name: str) -> None:
        """The capture of *seed* has come to the phase *name*, such as ``load`` or ``pack``."""

    def finished(self, summary: CaptureSummary) -> None:
        """A capture is in its store."""

    def skipped(self, seed: Seed, why: str) -> None:
        """*seed* is not captured, for the reason *why*."""

    def left(self, seed: Seed, why: str, *, failed: bool) -> None:
        """The run ends and no capture settles *seed*: it is put off for a later run, or *failed* for good."""

    def waiting(self, seconds: float) -> None:
        """Nothing can be done for so long, such as because hosts asked to be left alone."""

    def problem(self, text: str) -> None:
        """Something went wrong that ends no capture."""

    def failed(self, text: str) -> None:
        """This program failed over one capture; the others go on."""
