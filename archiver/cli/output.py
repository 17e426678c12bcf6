"""What goes to the terminal: results to standard output, everything else to standard error.

Text from pages and servers is cleaned first: a title may hold control sequences or direction marks.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archiver.summary import CaptureSummary

MAX_SHOWN_CHARS = 100
PIECES_AT_ONCE = 10_000
"""Of a JSON document that is printed, a few characters each."""
PIPE_WIDTH = 240
"""Columns of a table that goes to a file: wide enough to cut nothing that matters."""


def clean(text: str, limit: int = MAX_SHOWN_CHARS) -> str:
    """Return *text* without anything but printable characters, at most *limit* of them."""
    clipped = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in clipped)


def print_json(value: Any) -> None:
    """Print one JSON document, ASCII only, so that no terminal can be steered by it.

    Bit by bit: a list in it may be longer than fits in memory.
    """
    pieces = json.JSONEncoder(indent=2).iterencode(value)
    while text := "".join(itertools.islice(pieces, PIECES_AT_ONCE)):
        _print(text)
    _print("\n")


def say(text: str) -> None:
    """Tell something that is no result."""
    click.echo(text, err=True)


def error_console() -> Console:
    """Return the console for progress; rich honours NO_COLOR by itself."""
    return Console(stderr=True, highlight=False)


def print_captures(captures: Iterable[CaptureSummary]) -> None:
    """Print a table of captures."""
    table = Table("incident", "URL", "outcome", "state", "capture", box=None, pad_edge=False)
    table.add_column("bytes", justify="right")
    table.add_column("seconds", justify="right")
    for column in table.columns:
        column.no_wrap = column.header != "URL"
        column.overflow = "fold" if column.header == "URL" else "ellipsis"
    for one in captures:
        incidents = ", ".join(one.incident_ids)
        outcome = one.outcome if one.completeness == "complete" else f"{one.outcome} ({one.completeness})"
        cells = (
            incidents,
            one.url,
            outcome,
            one.state,
            one.capture_id,
            f"{one.bytes:,}",
            f"{one.seconds:.1f}",
        )
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console = _output_console()
    # Captured, since rich answers a closed pipe with an exit code of its own.
    with console.capture() as captured:
        console.print(table)
    _print(captured.get())


def print_lines(lines: Iterable[str]) -> None:
    """Print a result as lines."""
    for line in lines:
        _print(line + "\n")


def _print(text: str) -> None:
    """Print a result; whoever reads it may have had enough, which is no error."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain of it once more as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
