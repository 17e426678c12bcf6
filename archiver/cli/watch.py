"""``archiver watch``: look again at pages that were captured, and capture what became of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from archiver import sessions
from archiver.batch.account import Account
from archiver.batch.egress import check_vantage
from archiver.batch.vantage import settings_at
from archiver.cli.options import EXIT_CODES, capture_options, command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.running import run_seeds
from archiver.cli.stores import holdings_of
from archiver.config import Settings, cache_folder, config_folder
from archiver.egress import policy_of
from archiver.errors import ExitCode, UsageError
from archiver.fetching import text_of
from archiver.incidents.register import Seed
from archiver.incidents.rules import check_incident_id, check_seed_url, url_identity
from archiver.pseudonyms import pseudonym, seed_key
from archiver.spool import utc_text
from archiver.stores import open_stores
from archiver.summary import CaptureSummary, summary_of
from archiver.watch import rules
from archiver.watch.book import BOOK_NAME, Book
from archiver.watch.rules import MAX_TEXT_CHARS, Capture, Check, Event, Watch
from archiver.watch.running import Outcome, run_watches


@click.group("watch", epilog=EXIT_CODES)
def watch() -> None:
    """Look again at pages that were captured, and capture what became of them."""


@command("add")
@click.argument("subject", metavar="INCIDENT|URL")
@click.option("--every", default="6h", metavar="TIME", help="How often to look: 5m to 30d; 6h by default.")
@click.option(
    "--incident",
    "incident_ids",
    multiple=True,
    metavar="ID",
    help="Incident of a URL that the store holds no capture of; repeatable.",
)
@store_option
def add(
    *,
    subject: str,
    every: str,
    incident_ids: tuple[str, ...],
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Watch a page, or every page of an incident, from each vantage that it was captured from.

    The interval grows while nothing happens, to four times what is asked for, and shrinks to a quarter of
    it after a change.
    """
    settings = settings_of(config, store=store_url)
    watches = _watches_for(subject, settings, tuple(map(check_incident_id, incident_ids)), every)
    book = _book(settings)
    new = book.add(watches)
    book.close()
    if as_json:
        print_json({"watches": [_watch_json(one) for one in watches], "new": new})
    else:
        print_lines([f"{len(watches)} watched, {new} of them new; `archiver watch run` looks at them"])
    return ExitCode.DONE


@command("end")
@click.argument("subject", metavar="INCIDENT|URL")
@store_option
def end(*, subject: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Look no more at a page, or at any page of an incident. What was seen stays."""
    settings = settings_of(config, store=store_url)
    book = _book(settings)
    chosen = [one for one in book.watches() if not one.ended_at and _is_of(one, subject)]
    if not chosen:
        raise _nothing(subject, "a watch that is not ended")
    for one in chosen:
        book.update(msgspec.structs.replace(one, ended_at=utc_text(datetime.now(UTC))))
    book.close()
    if as_json:
        print_json({"ended": [_watch_json(one) for one in chosen]})
    else:
        print_lines([f"{len(chosen)} ended"])
    return ExitCode.DONE


@command("status")
@click.argument("subject", metavar="[INCIDENT|URL]", required=False, default="")
@store_option
def status(*, subject: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Say what each watched page is, and every change that was seen."""
    settings = settings_of(config, store=store_url)
    book = _book(settings)
    watches = [one for one in book.watches() if not subject or _is_of(one, subject)]
    events = [one for one in book.events() if not subject or _is_of(one, subject)]
    book.close()
    if as_json:
        told = [msgspec.to_builtins(one) for one in events]
        print_json({"watches": [_watch_json(one) for one in watches], "events": told})
    elif watches:
        print_lines([*map(_watch_line, watches), *map(_event_line, events)])
    else:
        say(f"nothing is watched in {settings.store}")
    return ExitCode.DONE


@command("run")
@capture_options
def run(
    *,
    store_url: str | None,
    resolve: tuple[str, ...],
    allow_private_network: bool | None,
    allowed_addresses: tuple[str, ...],
    ca_files: tuple[str, ...],
    behaviours: bool | None,
    session: str | None,
    media: str | None,
    jobs: int | None,
    again: bool,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Look at the pages that are due, and capture those that changed; for cron, every few minutes.

    A look is an HTTP request without browser and is no evidence. --again looks at all pages, due or not.
    """
    settings = settings_of(
        config,
        store=store_url,
        resolve=resolve,
        allow_private_network=allow_private_network,
        allowed_addresses=allowed_addresses,
        ca_files=ca_files,
        behaviours=behaviours,
        session=session,
        media=media,
        jobs=jobs,
    )
    sessions.check_use(settings, [settings.session])
    book = _book(settings)
    account = Account()
    with book.alone() as is_alone:
        if not is_alone:
            say("another `archiver watch run` is at work; nothing was done")
            return ExitCode.DONE
        if again:
            book.add(one for one in book.watches() if not one.ended_at)  # due at once
        found = run_watches(
            book, _looks(settings), _Taking(settings, account).take, settings.batch.host_gap_ms
        )
    book.close()
    _tell(found, account, as_json=as_json)
    return ExitCode.PARTIAL if found.problems or account.failures or account.problems else ExitCode.DONE


def _tell(found: Outcome, account: Account, *, as_json: bool) -> None:
    for problem in found.problems:
        say(f"warning: {clean(problem, 400)}")
    if as_json:
        print_json(
            {
                "checks": found.checks,
                "captures": list(account.captures),
                "events": [msgspec.to_builtins(one) for one in found.events],
                "problems": [*found.problems, *account.problems, *account.failures],
            }
        )
        return
    print_lines(_event_line(one) for one in found.events)
    say(f"{found.checks} looked at, {found.captures} captured, {len(found.events)} changed")


def _looks(settings: Settings) -> Callable[[str], Callable[[str], Check]]:
    """Return what opens a vantage for looking."""
    # Here, so that status and add start without Playwright.
    from archiver.capture.browser import find_browser  # noqa: PLC0415
    from archiver.capture.rig import describe  # noqa: PLC0415
    from archiver.watch.looking import Looker  # noqa: PLC0415

    def open_vantage(vantage: str) -> Callable[[str], Check]:
        here = settings_at(settings, vantage, os.environ)
        if vantage:
            check_vantage(vantage, settings.vantages[vantage], here.upstream)
        facts = describe(find_browser(here.browser or None), cache_folder(), here.view, here.user_agent)
        headers = {
            "User-Agent": facts.user_agent,
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Language": here.view.accept_language(),
        }
        return Looker(policy_of(here), headers, [Path(name) for name in here.ca_files]).look

    return open_vantage


class _Taking:
    """Captures for a run of watches, into one account."""

    def __init__(self, settings: Settings, account: Account) -> None:
        self._settings = settings
        self._account = account
        self._store = open_stores(settings)

    def take(self, orders: Sequence[tuple[Watch, Seed]]) -> dict[Watch, Capture]:
        """Capture pages; the newest capture of each counts, made now or left over from an earlier run."""
        names = {self._name(one): one for one, _ in orders}
        begun = len(self._account.captures)
        run_seeds([seed for _, seed in orders], self._settings, self._account, repeat=True, quiet=True)
        taken: dict[Watch, Capture] = {}
        for number, facts in enumerate(self._account.captures):
            summary = summary_of(facts)
            name = (summary.url, "" if self._settings.recipients else summary.vantage)
            if number >= begun and name in names and summary.completeness != "interrupted":
                text = text_of(self._store, summary, MAX_TEXT_CHARS)
                taken[names[name]] = _capture_of(summary, text)
        return taken

    def _name(self, one: Watch) -> tuple[str, str]:
        """What its captures can be known by."""
        vantage = one.vantage or self._settings.vantage
        if not self._settings.recipients:
            return one.url, vantage
        return pseudonym(seed_key(config_folder()), one.url, one.incident_ids[0], vantage), ""


def _capture_of(summary: CaptureSummary, text: str = "") -> Capture:
    return Capture(
        capture_id=summary.capture_id,
        outcome=summary.outcome,
        started_at=summary.started_at,
        text_sha256=next((one["sha256"] for one in summary.artifacts if one["role"] == "text"), ""),
        text=text,
    )


def _book(settings: Settings) -> Book:
    return Book(Path(settings.spool) / BOOK_NAME, settings.store)


def _watches_for(subject: str, settings: Settings, incident_ids: tuple[str, ...], every: str) -> list[Watch]:
    """Return a watch for each URL and vantage; what the store holds of them is where it begins."""
    every_s = rules.parse_every(every)
    url = check_seed_url(subject) if "://" in subject else ""
    wanted = {"url": url} if url else {"incident_id": check_incident_id(subject)}
    now = utc_text(datetime.now(UTC))
    watches: dict[tuple[str, str], Watch] = {}
    with holdings_of(open_stores(settings)) as holdings:
        holdings.warn()
        for one in holdings.catalogue.find(**wanted):
            asked = "://" in one.url and (not url or url_identity(one.url) == url_identity(url))
            if not asked or one.completeness == "interrupted":
                continue
            vantage = "" if one.vantage in {"", settings.vantage} else one.vantage
            incidents = tuple(dict.fromkeys((*one.incident_ids, *incident_ids)))
            begun = watches.get((one.url, vantage)) or Watch(
                url=one.url, vantage=vantage, incident_ids=incidents, every_s=every_s, added_at=now
            )
            watches[one.url, vantage], _ = rules.captured(begun, _capture_of(one), "")
    for name in {vantage for _, vantage in watches} - {"", *settings.vantages}:
        say(f"warning: vantage {clean(name)}: not watched from there: no such vantage is set")
        watches = {(of, at): one for (of, at), one in watches.items() if at != name}
    if not watches and url and incident_ids:
        watches["", ""] = Watch(url=url, incident_ids=incident_ids, every_s=every_s, added_at=now)
    if not watches:
        raise _nothing(subject, "captures of it that can be read")
    return list(watches.values())


def _nothing(subject: str, expected: str) -> UsageError:
    return UsageError(
        f"watch {ascii(subject)[1:81]}: expected {expected}, got none",
        code="E733",
        hint="name a URL with --incident, or see `archiver list` and `archiver watch status`",
    )


def _is_of(one: Watch | Event, subject: str) -> bool:
    if "://" in subject:
        return url_identity(one.url) == url_identity(check_seed_url(subject))
    return check_incident_id(subject) in one.incident_ids


def _watch_json(one: Watch) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(one)
    for name in ("last", "told"):
        if facts[name] is not None:
            del facts[name]["text"]
    due = datetime.fromtimestamp(one.due_s, UTC)
    return facts | {"due_at": utc_text(due) if one.due_s else ""}


def _watch_line(one: Watch) -> str:
    if one.ended_at:
        when = f"ended {one.ended_at}"
    else:
        due = utc_text(datetime.fromtimestamp(one.due_s, UTC)) if one.due_s else "now"
        when = f"seen {one.seen_at or 'never'}, next look {due}"
    where = f" from {one.vantage}" if one.vantage else ""
    by_script = "; captured at each look: looks do not see what captures see" if one.by_script else ""
    return f"{one.state or 'not captured yet'}: {clean(one.url, 300)}{where}: {when}{by_script}"


def _event_line(one: Event) -> str:
    where = f" from {one.vantage}" if one.vantage else ""
    clock = "; the clock went backwards in between" if one.clock_set_back else ""
    return (
        f"{one.became}: {clean(one.url, 300)}{where}: last seen {one.was} at {one.last_seen_at} "
        f"({one.before}), first seen {one.became} at {one.first_seen_at} ({one.after}): "
        f"{clean(one.signal, 300)}{clock}"
    )


for _one in (add, end, run, status):
    watch.add_command(_one)
