"""Cells that no spreadsheet takes for a formula, and back again. Source: OWASP, CSV injection."""

from __future__ import annotations

import re

_STARTS = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_GUARDED = re.compile("''*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def guarded(text: str) -> str:
    """Return *text* as a spreadsheet shows it and does not compute it: with an apostrophe before it."""
    return "'" + text if _STARTS.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text that ``guarded`` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell
