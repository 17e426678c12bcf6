"""``archiver show``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines
from archiver.cli.stores import full_ids
from archiver.errors import ExitCode
from archiver.stores import open_stores
from archiver.summary import CaptureSummary, load_record, load_summary


@command("show")
@click.argument("capture")
@store_option
def show(*, capture: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Show one capture: outcome and the signals that led to it, times, each file with its digest.

    CAPTURE is a capture ID, or as much of its beginning as no other has. With --json the whole
    evidence record is there as well.
    """
    store = open_stores(settings_of(config, store=store_url))
    (capture_id,) = full_ids(store, [capture])
    summary = load_summary(store, capture_id)
    _, data = load_record(store, capture_id)
    if as_json:
        print_json(summary.to_json() | {"record": json.loads(data)})
    else:
        print_lines(_lines(summary, json.loads(data)["outcome"]))
    return ExitCode.DONE


def _lines(summary: CaptureSummary, outcome: dict[str, Any]) -> Iterator[str]:
    facts = {
        "capture": summary.capture_id,
        "incidents": ", ".join(summary.incident_ids),
        "URL": summary.url,
        "arrived at": summary.final_url,
        "title": summary.title,
        "outcome": f"{summary.outcome}: {summary.outcome_reason}",
        "completeness": summary.completeness,
        "state": summary.state,
        "started": summary.started_at,
        "finished": summary.finished_at,
        "register": f"{summary.register}, line {summary.register_line}" if summary.register else "",
    }
    for name, value in facts.items():
        if value:
            yield f"{name:<13} {clean(value, 300)}"
        if name == "outcome":
            yield f"{'confidence':<13} {outcome['confidence_percent']} of 100 (a rank, no probability)"
            for signal in outcome["signals"]:
                yield f"{'signal':<13} {clean(signal, 300)}"
    yield ""
    for one in summary.artifacts:
        yield f"{one['path']:<28} {one['role']:<20} {one['bytes']:>12,} bytes"
        yield f"  sha256 {one['sha256']}"
