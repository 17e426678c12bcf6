"""``archiver crosscheck``: a capture held against tshark."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines
from archiver.cli.stores import full_ids
from archiver.crosschecking import crosscheck_capture
from archiver.errors import ExitCode
from storage.open import open_store


@command("crosscheck")
@click.argument("capture")
@store_option
def crosscheck(*, capture: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Compare a capture with what tshark reads out of its transcript.

    Every direction of every connection must be equal, byte for byte. Bodies that tshark cannot take out
    are listed; the comparison of their connection covers them.
    """
    store = open_store(settings_of(config, store=store_url).store)
    (capture_id,) = full_ids(store, [capture])
    result = crosscheck_capture(store, capture_id)
    directions = [
        {
            "connection": one.connection,
            "side": one.side,
            "bytes": one.expected.size_bytes,
            "sha256": one.expected.sha256,
            "agrees": one.agrees,
        }
        for one in result.directions
    ]
    if as_json:
        print_json(
            {
                "capture_id": capture_id,
                "reader": result.reader,
                "agrees": result.agrees,
                "directions": directions,
                "exported": list(result.exported),
                "not_exported": [{"url": url, "reason": why} for url, why in result.not_exported],
            }
        )
    else:
        equal = sum(one.agrees for one in result.directions)
        print_lines([result.reader, f"{equal} of {len(directions)} directions equal, byte for byte"])
        print_lines(
            f"connection {one['connection']}, {one['side']}: DIFFERS"
            for one in directions
            if not one["agrees"]
        )
        print_lines([f"{len(result.exported)} bodies exported and equal"])
        print_lines(f"not exported: {clean(url, 100)}: {clean(why, 100)}" for url, why in result.not_exported)
    return ExitCode.DONE if result.agrees else ExitCode.EVIDENCE_FAILED
