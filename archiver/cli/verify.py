"""``archiver verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from archiver.cli.custody import log_readily
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_json, print_lines
from archiver.cli.places import Place, named_places, whole_store
from archiver.config import Settings, trust_path
from archiver.custodian import load_trust, seen_folder
from archiver.errors import ExitCode, UsageError
from archiver.log_checking import LogChecker, not_compared, read_given
from archiver.sealing import Sealer
from archiver.seen import SeenCheckpoints
from archiver.stores import open_stores
from manifests.canonical import MAX_JSON_BYTES
from manifests.codec import decode
from manifests.commitments import MAX_OPENINGS_BYTES, Opening, parse_openings
from manifests.custody_event import CustodyEvent, new_event
from manifests.explain import explain
from manifests.log_check import Seen
from manifests.report import Report, Verdict, report_lines, result_object
from manifests.seal_check import seal_check
from manifests.trust import Trust
from manifests.verifier import MAX_SEAL_FILE_BYTES, SEAL_PREFIX, Expectation, SealCheck, verify_capture

MAX_EVENTS = 200
"""Captures that did not pass and are named in the custody log one by one."""


@command("verify")
@click.argument("targets", metavar="[CAPTURE|PATH]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every capture of the store.")
@click.option(
    "--trust",
    "trust_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Check seals by the keys, authorities and logs that FILE names.",
)
@click.option(
    "--checkpoint",
    "checkpoint_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A checkpoint of the custody log that was published or kept elsewhere; repeatable.",
)
@click.option(
    "--opened",
    "opened_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Facts that `archiver annex open --json` printed, to be held to the record; repeatable.",
)
@click.option(
    "--explain",
    "as_script",
    is_flag=True,
    help="Print the shell script that checks one capture by hand instead.",
)
@store_option
def verify(
    *,
    targets: tuple[str, ...],
    every: bool,
    trust_file: Path | None,
    checkpoint_files: tuple[Path, ...],
    opened_files: tuple[Path, ...],
    as_script: bool,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Check that captures are what their records say, and what of it is proven.

    A target is a capture ID (or its beginning) of the store, or the folder or ZIP of an export or of one
    capture. Works offline; needs no browser. Without --trust the trust file of this installation decides;
    where there is none a seal is not checked, and nothing passes.

    Captures of a store are checked with its custody log: that it is one log, the one that was seen before,
    and with --all that no capture is missing which it holds.
    """
    if bool(targets) == every:
        raise UsageError(
            "verify: expected captures, a folder or --all, got " + ("both" if every else "none"),
            code="E279",
            hint="name what to verify, or give --all",
        )
    settings = settings_of(config, store=store_url)
    own_trust = trust_path(settings_of(config))
    trusted = trust_file or (own_trust if own_trust.exists() else None)
    trust = load_trust(trusted) if trusted else None
    if as_script:
        return _explain(targets, settings, trust or Trust(), as_json=as_json)
    given = [read_given(path, trust or Trust()) for path in checkpoint_files]
    opened = dict(_opened(path) for path in opened_files)
    run = _Run(settings, trust, given, opened, quiet=as_json)
    places = [whole_store(open_stores(settings))] if every else _named(targets, settings)
    for place in places:
        run.verify(place)
    return run.told()


class _Run:
    """What is verified by one command, and what came of it."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust | None,
        given: Sequence[Seen],
        opened: Mapping[str, tuple[Opening, ...]],
        *,
        quiet: bool,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._given = given
        self._opened = opened
        self._quiet = quiet
        self._check: SealCheck | None = seal_check(trust, datetime.now(UTC)) if trust else None
        self._reports: list[Report] = []
        self._logs: list[Report] = []
        self._unfinished: list[str] = []

    def verify(self, place: Place) -> None:
        """Verify the captures of a place, then the log that holds them."""
        reports = []
        for target in place.targets(self._unfinished):
            openings = self._opened.get(target.capture_id, ())
            expected = Expectation(capture_id=target.capture_id, openings=openings)
            report = verify_capture(target.files, target.subject, expected=expected, seal_check=self._check)
            reports.append(report)
            self._show(report)
        self._reports += reports
        if self._trust is not None:
            checker = LogChecker(self._trust, self._given, SeenCheckpoints(seen_folder()))
            for log in checker.check(place.store, place.kind, reports):
                self._show(log)
                self._logs.append(log)
        if place.kind != "export":
            log_readily(self._settings, place.store, lambda sealer: _events(sealer, place, reports))

    def told(self) -> ExitCode:
        """Tell the result of everything."""
        for report in not_compared(self._given, self._logs):
            self._show(report)
            self._logs.append(report)
        if not (self._reports or self._unfinished):
            raise UsageError(
                "verify: expected a capture, got an empty store", code="E279", hint="check --store"
            )
        verdict = _worst([*self._reports, *self._logs], self._unfinished)
        if self._quiet:
            print_json(result_object(verdict, self._reports, self._logs, self._unfinished))
        else:
            print_lines(
                f"capture {one}: no record: broken off, or its record was removed" for one in self._unfinished
            )
            print_lines([f"{len(self._reports)} captures: {verdict.value.upper()}"])
        return _EXITS[verdict]

    def _show(self, report: Report) -> None:
        if not self._quiet:
            print_lines(report_lines(report))


def read_openings(path: Path, capture_id: str) -> tuple[Opening, ...]:
    """Read opened facts of one capture.

    Raises:
        UsageError: E297, the file cannot be read or is of another capture.
    """
    of, openings = _opened(path)
    if of != capture_id:
        raise UsageError(
            f"opened facts {path}: expected those of capture {capture_id}, got of {of[:60]}",
            code="E297",
            hint=f"run `archiver annex open {capture_id} --json`",
        )
    return openings


def _opened(path: Path) -> tuple[str, tuple[Opening, ...]]:
    try:
        with path.open("rb") as file:
            return parse_openings(file.read(MAX_OPENINGS_BYTES + 1))
    except OSError as error:
        raise UsageError(
            f"opened facts {path}: expected a readable file, got {error.strerror}",
            code="E297",
            hint="check the path",
        ) from error


def _named(targets: Sequence[str], settings: Settings) -> Iterator[Place]:
    return named_places(targets, lambda: open_stores(settings))


def _events(sealer: Sealer, place: Place, reports: Sequence[Report]) -> Iterator[CustodyEvent]:
    """One event for a store that was verified whole; one for each capture otherwise, or that did not pass."""
    if place.kind == "store":
        failed = sum(report.overall is not Verdict.PASSED for report in reports)
        details = f"{len(reports)} captures of the store, {failed} of them not passed"
        yield new_event("verified", sealer.actor, details=details)
        reports = [report for report in reports if report.overall is not Verdict.PASSED]
    for report in reports[:MAX_EVENTS]:
        codes = sorted(code.code for code in report.codes())
        yield new_event(
            "verified",
            sealer.actor,
            capture_id=report.record.capture_id if report.record else report.subject[:200],
            digests={"record.json": report.record_sha256} if report.record_sha256 else {},
            details=f"{report.overall.value}: {', '.join(codes)}"[:4000],
        )


def _explain(targets: Sequence[str], settings: Settings, trust: Trust, *, as_json: bool) -> ExitCode:
    if len(targets) != 1:
        raise UsageError("verify --explain: expected one capture", code="E279", hint="name one capture")
    (target,) = (one for place in _named(targets, settings) for one in place.targets([]))
    files = {entry.name: entry for entry in target.files.entries()}
    with target.files.open("record.json") as file:
        record = decode(file.read(MAX_JSON_BYTES + 1))
    seal = {}
    for name in files:
        if name.startswith(SEAL_PREFIX):
            with target.files.open(name) as file:
                seal[name.removeprefix(SEAL_PREFIX)] = file.read(MAX_SEAL_FILE_BYTES)
    script = explain(record, seal, trust)
    print_json({"script": script}) if as_json else print_lines(script.rstrip("\n").split("\n"))
    return ExitCode.DONE


_EXITS = {
    Verdict.PASSED: ExitCode.DONE,
    Verdict.FAILED: ExitCode.EVIDENCE_FAILED,
    Verdict.INDETERMINATE: ExitCode.EVIDENCE_INDETERMINATE,
}


def _worst(reports: Sequence[Report], unfinished: Sequence[str]) -> Verdict:
    verdicts = {report.overall for report in reports}
    if unfinished:
        # A capture exists when its record exists; what lies there without one proves nothing either way.
        verdicts.add(Verdict.INDETERMINATE)
    return next(one for one in (Verdict.FAILED, Verdict.INDETERMINATE, Verdict.PASSED) if one in verdicts)
