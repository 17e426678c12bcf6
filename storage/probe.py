"""What a store promises, found out by trying, in sentences that a person can act on."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.interface import Store


class Verdict(enum.StrEnum):
    """Whether a promise holds."""

    HOLDS = "holds"
    BROKEN = "does not hold"
    UNKNOWN = "could not be checked"


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and what came of trying it.

    Args:
        name: Short and stable, for machines: ``create-only``, ``racing-creators``, ...
        verdict: Whether it holds.
        sentence: What that means for evidence, for a person.
    """

    name: str
    verdict: Verdict
    sentence: str


def folder_promises(*, linked: bool, synced: bool, case_kept: bool) -> list[Promise]:
    """Return what a folder promises, given what its disk can do, and what no folder can."""

    def promise(name: str, kept: bool, holds: str, broken: str) -> Promise:  # read in order below
        return Promise(name, Verdict.HOLDS, holds) if kept else Promise(name, Verdict.BROKEN, broken)

    return [
        promise(
            "create-only",
            linked,
            "A file appears under its name whole, and only if the name is free.",
            "The disk has no hard links: files are renamed into place under a lock, which only this program "
            "heeds.",
        ),
        promise(
            "durable-names",
            synced,
            "What has been stored survives a power cut.",
            "The disk cannot make names durable on demand: after a power cut the last files may be gone.",
        ),
        promise(
            "upper-and-lower-case",
            case_kept,
            "Keys that differ only in case are different files.",
            "The disk ignores case: keys that differ only in case are refused.",
        ),
        Promise(
            "locks",
            Verdict.BROKEN,
            "No folder is write-once against its owner: this tool never overwrites, and refuses to delete "
            "what is retained or held, but the disk's owner can do both. The signed records show it, and "
            "a second copy in a store with Object Lock outlasts it.",
        ),
    ]


class ProbedStore(Store, Protocol):
    """A store that can be asked which promises hold."""

    def probe(self) -> Sequence[Promise]:
        """Try each promise with small objects under ``.probe``, which no listing shows.

        In a bucket with default retention these objects stay until their date.

        Raises:
            StoreRefused, StoreUnavailable: The store cannot be used at all.
        """
        ...
