"""``archiver audit``."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from archiver.cli.custody import log_quietly
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.config import Settings, cache_folder
from archiver.errors import ArchiverError, ExitCode, UsageError
from archiver.preservation.audit_report import (
    begin,
    events_of,
    report_bytes,
    report_key,
    report_lines,
    report_of,
    save,
    state_path,
)
from archiver.preservation.auditing import AuditableStore, Extent, Progress, audit_store
from archiver.preservation.holding import held_incidents, hold_again
from archiver.preservation.syncing import catch_up_log, finish_copies
from archiver.stores import open_copies, open_stores
from manifests.custody_event import CustodyEvent
from manifests.errors import ManifestError
from storage.audit import Condition
from storage.errors import StoreError
from storage.interface import Store
from storage.retention import LockingStore

SAVE_EVERY_S = 5
FULL = 1000
SAMPLE = re.compile(r"([0-9]{1,3})(?:\.([0-9]))?%?")
MAX_LINES = 60


@command("audit")
@click.option("--sample", metavar="PERCENT", help="Read so much of every store, such as 5%, the default.")
@click.option("--full", is_flag=True, help="Read everything.")
@click.option("--dry-run", is_flag=True, help="Repair nothing and store no report.")
@store_option
def audit(
    *,
    sample: str | None,
    full: bool,
    dry_run: bool,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Read the stores again, find what is missing or damaged, and put it right from another store.

    An audit that was broken off is gone on with. Each store gets a report under `audits/`. Exit code 3 when
    everything that was wrong could be repaired or is surplus, 4 when evidence is damaged or missing, 5 when
    some could not be read, 6 when a store is out of reach.
    """
    if sample is not None and full:
        raise UsageError("audit: expected --sample or --full, got both", code="E179", hint="give one")
    permille = FULL if full else _permille(sample or "5%")
    settings = settings_of(config, store=store_url)
    reports: list[dict[str, Any]] = []
    unreachable: dict[str, str] = {}
    copies = open_copies(settings)
    if not dry_run:
        with suppress(StoreError):  # a store out of reach is told below
            catch_up_log(copies)
    for one in copies:
        try:
            others = [other for other in copies if other is not one]
            reports.append(_audit(one, others, permille, mend=not dry_run))
        except StoreError as error:
            if len(copies) == 1:
                raise
            unreachable[one.url] = str(error)
    if not dry_run:
        _leave(settings, reports)
    if as_json:
        print_json({"reports": reports, "unreachable": unreachable})
    else:
        _print(reports, unreachable)
    return ExitCode.STORE_REFUSED if unreachable else max(map(_exit_code, reports))


def _permille(text: str) -> int:
    found = SAMPLE.fullmatch(text)
    permille = int(found[1]) * 10 + int(found[2] or 0) if found else 0
    if not 1 <= permille <= FULL:
        raise UsageError(
            f"option --sample: expected 0.1% to 100%, got {ascii(text)[:40]}", code="E179", hint="such as 5%"
        )
    return permille


def _audit(store: AuditableStore, others: Sequence[Store], permille: int, *, mend: bool) -> dict[str, Any]:
    path = state_path(cache_folder(), store.url, permille)
    state = begin(path, store.url, permille)
    if state.resumed_count:
        say(f"audit of {store.url}: going on from {clean(state.progress.after)}")
    saved_at = time.monotonic()

    def tick(_: Progress) -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= SAVE_EVERY_S:
            save(path, state)
            saved_at = time.monotonic()

    try:
        audit_store(store, others, Extent(permille, state.seed), state.progress, mend=mend, tick=tick)
    except BaseException:
        save(path, state)
        raise
    path.unlink(missing_ok=True)
    return report_of(state, mended=mend)


def _leave(settings: Settings, reports: Sequence[dict[str, Any]]) -> None:
    """Store the reports beside what they are about, log them, and hold again what was repaired."""
    store = open_stores(settings)
    events = []
    for report in reports:
        data = report_bytes(report)
        key = report_key(report, data)
        store.put(key, data)
        text = "".join(f"{clean(line, 1000)}\n" for line in report_lines(report))
        store.put(f"{key.removesuffix('.json')}.txt", text.encode())
        events += events_of(settings.actor, key, data, report)
    _log(settings, store, events)
    if any(report["repaired_count"] for report in reports):
        # A repaired object is a new version, and the hold lies on the old one.
        for incident_id in held_incidents(store):
            hold_again(store, incident_id)
    for problem in finish_copies(store):
        say(f"warning: {clean(problem, 300)}")


def _log(settings: Settings, store: LockingStore, events: Sequence[CustodyEvent]) -> None:
    why = "there is no signing key that opens without a question"
    try:
        logged = log_quietly(settings, store, lambda _: events)
    except (ArchiverError, ManifestError, StoreError) as error:
        logged, why = False, str(error)  # what was found is told all the same
    if not logged:
        say(f"warning: not in the custody log: {clean(why, 300)}")


def _exit_code(report: dict[str, Any]) -> ExitCode:
    counts = report["counts"]
    if counts[Condition.DAMAGED] + counts[Condition.MISSING] > report["repaired_count"]:
        return ExitCode.EVIDENCE_FAILED
    if counts[Condition.UNREADABLE]:
        return ExitCode.EVIDENCE_INDETERMINATE
    fine = counts[Condition.SOUND] + counts[Condition.LISTED]
    return ExitCode.DONE if sum(counts.values()) == fine else ExitCode.PARTIAL


def _print(reports: Sequence[dict[str, Any]], unreachable: dict[str, str]) -> None:
    for report in reports:
        lines = list(report_lines(report))
        print_lines(clean(line, 400) for line in lines[:MAX_LINES])
        if len(lines) > MAX_LINES:
            print_lines([f"and {len(lines) - MAX_LINES} more lines: see the report under audits/, or --json"])
    print_lines(f"store {url}: not audited: {clean(why, 300)}" for url, why in unreachable.items())
