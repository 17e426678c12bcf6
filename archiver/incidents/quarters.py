"""Countries, quarters, and the scheme of incident IDs: ``KZ-2026-Q1-4.03``. Rules only, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archiver.errors import UsageError

_QUARTER = re.compile(r"(20\d\d)-?Q([1-4])", re.IGNORECASE)
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_ID = re.compile(
    r"(?P<country>[A-Z]{2})-(?P<quarter>20\d\d-Q[1-4])-(?P<section>\d{1,3})\.(?P<ordinal>\d{2,6})"
)


@dataclass(frozen=True, slots=True)
class Quarter:
    """A quarter of a year; its text form is ``2026-Q1``."""

    year: int
    number: int

    @property
    def months(self) -> range:
        """Numbers of its months, 1 to 12."""
        return range(3 * self.number - 2, 3 * self.number + 1)

    def __str__(self) -> str:
        return f"{self.year}-Q{self.number}"


def parse_quarter(text: str) -> Quarter:
    """Return the quarter that *text* names.

    Raises:
        UsageError: E246.
    """
    if found := _QUARTER.fullmatch(text.strip()):
        return Quarter(int(found[1]), int(found[2]))
    raise UsageError(
        f"quarter {text[:40]!a}: expected a year and quarter, got something else",
        code="E246",
        hint="give it as 2026-Q1",
    )


def parse_country(text: str) -> str:
    """Return a country's code in capitals. Source: ISO 3166-1 alpha-2; whether it is assigned is not checked.

    Raises:
        UsageError: E246.
    """
    if _COUNTRY.fullmatch(text.strip()):
        return text.strip().upper()
    raise UsageError(
        f"country {text[:40]!a}: expected two letters of ISO 3166-1, got something else",
        code="E246",
        hint="give it as KZ",
    )


def make_incident_id(country: str, quarter: Quarter, section: int, ordinal: int) -> str:
    """Return the ID of an incident: its ordinal within the section, two digits or more."""
    return f"{country}-{quarter}-{section}.{ordinal:02d}"


def section_and_ordinal(incident_id: str) -> tuple[int, int] | None:
    """Return the section and ordinal of an ID of our scheme; None for any other ID."""
    found = _ID.fullmatch(incident_id)
    return (int(found["section"]), int(found["ordinal"])) if found else None
