"""A store and its catalogue, as the commands use them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archiver.cli.output import say
from archiver.config import cache_folder
from archiver.errors import ArchiverError, UsageError
from archiver.summary import CaptureSummary, load_summary
from manifests.errors import ManifestError
from storage.interface import Store

if TYPE_CHECKING:
    from archiver.catalogue import Catalogue

CAPTURE_ID = re.compile(r"[0-9]{8}t[0-9]{6}z-[0-9a-hjkmnp-tv-z]{10}")


@dataclass(slots=True)
class Holdings:
    """What a store holds.

    Args:
        catalogue: Up to date with the store.
        unreadable: Captures whose evidence record is missing or broken: ID and reason.
    """

    catalogue: Catalogue
    unreadable: dict[str, str] = field(default_factory=dict)

    def warn(self) -> None:
        """Tell which captures are left out of every list."""
        for capture_id, reason in self.unreadable.items():
            say(f"warning: capture {capture_id}: left out: {reason}")


def capture_ids(store: Store) -> list[str]:
    """Return the IDs of every capture of *store*, finished or not, oldest first."""
    return [name for name in store.list_folders("captures/") if CAPTURE_ID.fullmatch(name)]


@contextmanager
def holdings_of(store: Store, *, afresh: bool = False) -> Iterator[Holdings]:
    """Open the catalogue of *store* and bring it up to date, from nothing when *afresh*."""
    # Here, so that verify and show start at once, also where SQLAlchemy is not installed.
    from archiver.catalogue import Catalogue, catalogue_path  # noqa: PLC0415

    present = capture_ids(store)
    catalogue = Catalogue(catalogue_path(cache_folder(), store.url))
    holdings = Holdings(catalogue)

    def load(capture_id: str) -> CaptureSummary | None:
        try:
            return load_summary(store, capture_id)
        except (ArchiverError, ManifestError) as error:
            holdings.unreadable[capture_id] = str(error)
            return None

    try:
        if afresh:
            catalogue.replace()
        catalogue.sync(present, load)
        yield holdings
    finally:
        catalogue.close()


def full_ids(store: Store, given: Sequence[str]) -> list[str]:
    """Return the capture IDs of *store* that *given* are, or are the beginnings of, each once.

    Raises:
        UsageError: E260, one fits no capture or several.
    """
    present = capture_ids(store)
    found = []
    for text in given:
        fitting = [capture_id for capture_id in present if capture_id.startswith(text)] if text else []
        if len(fitting) != 1:
            raise UsageError(
                f"capture {ascii(text)[1:41]}: expected the ID of one capture or its beginning, "
                f"got {len(fitting) or 'none'} in store {store.url}",
                code="E260",
                hint="run `archiver list` and give the ID that it prints",
            )
        found += fitting
    return list(dict.fromkeys(found))
