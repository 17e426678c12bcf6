"""``archiver diff``."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.stores import full_ids
from archiver.errors import EnvironmentUnfit, ExitCode
from archiver.reports.difference_page import difference_html
from archiver.reports.difference_source import as_json as difference_json
from archiver.reports.difference_source import compare_captures, in_words
from archiver.stores import open_stores

MAX_LINE_CHARS = 300


@command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page that shows both side by side, changed places framed.",
)
@store_option
def diff(
    *,
    before: str,
    after: str,
    output: Path | None,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Say how capture B differs from capture A: outcome, headers, text and pictures.

    What is compared is checked against the two records. Nothing is said of why it differs.
    """
    store = open_stores(settings_of(config, store=store_url))
    first, second = full_ids(store, [before])[0], full_ids(store, [after])[0]
    with tempfile.TemporaryDirectory(prefix="archiver-diff-") as folder:
        found = compare_captures(store, first, second, Path(folder))
    if output is not None:
        _write(output, difference_html(found, made_at=datetime.now(UTC)))
    if as_json:
        print_json(difference_json(found) | {"output": str(output) if output else ""})
    else:
        print_lines(clean(line, MAX_LINE_CHARS) for line in in_words(found))
        if output is not None:
            say(f"side by side: {output}")
    return ExitCode.DONE


def _write(path: Path, html: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise EnvironmentUnfit(
            f"comparison {path.name}: not written: expected a writable folder, got {error.strerror}",
            code="E734",
            hint="name another place for the page",
        ) from error
