"""``archiver store``: making, checking and syncing the places where captures are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archiver.cli.options import EXIT_CODES, command, settings_of
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.config import Settings
from archiver.errors import ExitCode, UsageError
from archiver.preservation.syncing import sync_stores
from archiver.s3_server import start_s3
from archiver.stores import open_copies, open_stores, rule_of
from archiver.storing import begin_store
from storage.errors import StoreRefused
from storage.folder import FolderStore
from storage.probe import Promise, Verdict
from storage.replicated import ReplicatedStore
from storage.retention import RetentionMode, RetentionRule
from storage.sync import Outcome

COMPLIANCE = (
    "compliance: until its date nobody can delete an object or shorten its time, neither you nor the owner "
    "of the account nor a court, and what is captured by mistake is paid for until then"
)


@click.group("store", epilog=EXIT_CODES)
def store() -> None:
    """Make, check, sync and serve the places where captures are kept."""


@command("init")
@click.argument("url", metavar="[STORE]", default="")
@click.option(
    "--mode",
    type=click.Choice(["governance", "compliance", "none"]),
    help="How firmly every new object is kept; by default as set, else governance.",
)
@click.option("--days", type=int, metavar="N", help="How long; by default as set, else ten years.")
@click.option("--irrevocable", is_flag=True, help="Needed for compliance, which nobody can undo.")
def init(
    *, url: str, mode: str | None, days: int | None, irrevocable: bool, config: Path | None, as_json: bool
) -> ExitCode:
    """Make a folder or bucket into a store, or one that exists stricter, and try what it promises.

    A bucket gets versions, Object Lock, default retention, encryption and no public access. One that keeps
    no locks is refused unless --mode is none. A folder remembers the retention, and this tool obeys it.
    """
    settings = _settings(config, url, mode, days)
    rule = rule_of(settings)
    if rule is not None and rule.mode is RetentionMode.COMPLIANCE and not irrevocable:
        raise UsageError(f"store init: {COMPLIANCE}", code="E176", hint="if you mean it, add --irrevocable")
    reports = []
    for one in open_copies(settings):
        notes = _make(one, rule) if isinstance(one, FolderStore) else _make_bucket(one, rule)
        promises = one.probe()
        if rule is not None and not isinstance(one, FolderStore):
            _require_locks(one.url, promises)
        reports.append({"store": one.url, "promises": _plain(promises), "notes": notes})
    begin_store(open_stores(settings))
    _print(reports, as_json=as_json)
    return ExitCode.DONE


@command("check")
@click.argument("url", metavar="[STORE]", default="")
def check(*, url: str, config: Path | None, as_json: bool) -> ExitCode:
    """Try what the store really promises, and say in plain words which promises hold.

    Exit code 6 when the settings ask for retention and a bucket keeps no locks.
    """
    settings = _settings(config, url, None, None)
    reports = []
    broken = False
    for one in open_copies(settings):
        promises = one.probe()
        reports.append({"store": one.url, "promises": _plain(promises), "notes": []})
        broken |= not isinstance(one, FolderStore) and rule_of(settings) is not None and _no_locks(promises)
    _print(reports, as_json=as_json)
    return ExitCode.STORE_REFUSED if broken else ExitCode.DONE


@command("sync")
def sync(*, config: Path | None, as_json: bool) -> ExitCode:
    """Copy to each of the stores what it lacks: captures, their locks, the custody log."""
    opened = open_stores(settings_of(config))
    if not isinstance(opened, ReplicatedStore):
        raise UsageError(
            "store sync: expected several stores, got one", code="E177", hint="set `stores` in the settings"
        )
    done = [
        {"store": one.url, "key": one.key, "outcome": one.outcome.value, "detail": one.detail}
        for one in sync_stores(opened)
    ]
    wrong = [one for one in done if one["outcome"] != Outcome.COPIED.value]
    copied = len(done) - len(wrong)
    if as_json:
        print_json({"copied": copied, "problems": wrong})
    else:
        print_lines(
            f"{one['outcome']}: {one['store']}: {one['key']}: {clean(one['detail'], 300)}" for one in wrong
        )
        print_lines([f"{copied} objects copied, {len(wrong)} problems"])
    return ExitCode.PARTIAL if wrong else ExitCode.DONE


@command("serve")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", type=click.IntRange(1024, 65_000), default=8333, help="Of S3; eight more follow.")
def serve(*, folder: Path, port: int, config: Path | None, as_json: bool) -> ExitCode:
    """Run an S3 server with Object Lock that keeps its data in DIR, for this machine alone, until Ctrl-C.

    Needs the extra `archiver[s3-server]`. Prints the variables that lead to it.
    """
    settings_of(config)
    server = start_s3(folder, port)
    try:
        if as_json:
            print_json(server.environment())
        else:
            print_lines(f"export {name}={value}" for name, value in server.environment().items())
        say("then: archiver store init s3://evidence; Ctrl-C ends the server")
        server.process.wait()
    finally:
        server.stop()
    return ExitCode.FAILED  # it ended by itself


for _command in (init, check, sync, serve):
    store.add_command(_command)


def _settings(config: Path | None, url: str, mode: str | None, days: int | None) -> Settings:
    retention = {key: value for key, value in (("mode", mode), ("days", days)) if value is not None}
    return settings_of(config, store=url or None, retention=retention or None)


def _make(folder: FolderStore, rule: RetentionRule | None) -> list[str]:
    if rule is None:
        return []
    kept = folder.keep_new(rule)
    return [f"Every object is kept for {kept.days} days ({kept.mode.lower()}), as far as this tool goes."]


def _make_bucket(bucket: Any, rule: RetentionRule | None) -> list[str]:
    # Here, so that a folder works where boto3 is not installed.
    from storage.s3.setup import prepare_bucket  # noqa: PLC0415

    return prepare_bucket(bucket.client, bucket.bucket, rule)


def _require_locks(url: str, promises: Sequence[Promise]) -> None:
    if _no_locks(promises):
        raise StoreRefused(
            f"store {url}: not fit for evidence as it is set up: expected Object Lock, got a bucket without",
            code="E170",
            hint="name a bucket that does not exist yet, or accept it with --mode none",
        )


def _no_locks(promises: Sequence[Promise]) -> bool:
    return any(one.name == "locks" and one.verdict is not Verdict.HOLDS for one in promises)


def _plain(promises: Sequence[Promise]) -> list[dict[str, str]]:
    return [{"name": one.name, "verdict": one.verdict.value, "sentence": one.sentence} for one in promises]


def _print(reports: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"stores": reports})
        return
    for report in reports:
        print_lines([f"store {report['store']}"])
        print_lines(f"  {one['verdict']}: {one['sentence']}" for one in report["promises"])
        for note in report["notes"]:
            say(f"note: {note}")
