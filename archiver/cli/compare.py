"""``archiver compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from archiver.batch.comparison import Comparison, compare
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.stores import holdings_of
from archiver.errors import ExitCode
from archiver.incidents.rules import check_incident_id, check_seed_url
from archiver.stores import open_stores


@command("compare")
@click.argument("subject", metavar="URL|INCIDENT")
@store_option
def compare_vantages(*, subject: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Say what a page, or each page of an incident, was from each vantage.

    The newest capture from each place counts, and the time between them is told, since a page may have
    changed in between. Nothing is said of why a page is not to be seen from somewhere.
    """
    store = open_stores(settings_of(config, store=store_url))
    if "://" in subject:
        wanted = {"url": check_seed_url(subject)}
    else:
        wanted = {"incident_id": check_incident_id(subject)}
    with holdings_of(store) as holdings:
        holdings.warn()
        found = compare(holdings.catalogue.find(**wanted))
    if as_json:
        print_json({"comparisons": [_as_json(one) for one in found]})
    elif found:
        print_lines(f"{clean(one.url, 300)}: {one.verdict}: {clean(one.text, 600)}" for one in found)
    else:
        say(f"no captures of {clean(subject, 300)} in {store.url}")
    return ExitCode.DONE


def _as_json(one: Comparison) -> dict[str, Any]:
    sightings = [
        {
            "vantage": sighting.vantage,
            "seen": sighting.seen,
            "outcome": sighting.capture.outcome,
            "outcome_reason": sighting.capture.outcome_reason,
            "http_status": sighting.capture.http_status,
            "started_at": sighting.capture.started_at,
            "capture_id": sighting.capture.capture_id,
        }
        for sighting in one.sightings
    ]
    return {
        "url": one.url,
        "verdict": one.verdict,
        "text": one.text,
        "span_s": one.span_s,
        "sightings": sightings,
    }
