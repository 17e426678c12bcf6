"""``archiver verify``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_json, print_lines
from archiver.cli.stores import CAPTURE_ID, capture_ids, full_ids
from archiver.config import trust_path
from archiver.errors import ExitCode, UsageError
from archiver.store_set import evidence_set
from archiver.stores import open_stores
from archiver.summary import capture_prefix
from archiver.unpacking import unpack_export
from manifests.canonical import MAX_JSON_BYTES
from manifests.codec import decode
from manifests.evidence_set import EvidenceSet, FolderSet
from manifests.explain import explain
from manifests.report import Report, Verdict, report_lines, report_object
from manifests.seal_check import seal_check
from manifests.trust import MAX_TRUST_FILE_BYTES, Trust, TrustError, parse_trust
from manifests.verifier import MAX_SEAL_FILE_BYTES, SEAL_PREFIX, Expectation, verify_capture
from storage.errors import ObjectMissing
from storage.folder import FolderStore
from storage.interface import Store


@dataclass(frozen=True, slots=True)
class Target:
    """One capture to verify: its files, its name, and its ID where the place states it."""

    files: EvidenceSet
    subject: str
    capture_id: str


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
    as_script: bool,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Check that captures are what their records say, and what of it is proven.

    A target is a capture ID (or its beginning) of the store, or the folder or ZIP of an export or of one
    capture. Works offline; needs no browser. Without --trust the trust file of this installation decides;
    where there is none a seal is not checked, and nothing passes.
    """
    if bool(targets) == every:
        raise UsageError(
            "verify: expected captures, a folder or --all, got " + ("both" if every else "none"),
            code="E279",
            hint="name what to verify, or give --all",
        )
    own_trust = trust_path(settings_of(config))
    trusted = trust_file or (own_trust if own_trust.exists() else None)
    trust = _trust(trusted) if trusted else None
    if as_script:
        return _explain(targets, config, store_url, trust or Trust(), as_json=as_json)
    check = seal_check(trust, datetime.now(UTC)) if trust else None
    unfinished: list[str] = []
    found = (
        _all(_store(config, store_url), unfinished)
        if every
        else _named(targets, config, store_url, unfinished)
    )
    reports = []
    for target in found:
        expected = Expectation(capture_id=target.capture_id)
        report = verify_capture(target.files, target.subject, expected=expected, seal_check=check)
        reports.append(report)
        if not as_json:
            print_lines(report_lines(report))
    if not (reports or unfinished):
        raise UsageError("verify: expected a capture, got an empty store", code="E279", hint="check --store")
    verdict = _worst(reports, unfinished)
    if as_json:
        objects = [report_object(report) for report in reports]
        print_json({"overall": verdict.value, "reports": objects, "unfinished": unfinished})
    else:
        print_lines(f"capture {one}: no record: broken off, or its record was removed" for one in unfinished)
        print_lines([f"{len(reports)} captures: {verdict.value.upper()}"])
    return _EXITS[verdict]


def _explain(
    targets: Sequence[str], config: Path | None, store_url: str | None, trust: Trust, *, as_json: bool
) -> ExitCode:
    if len(targets) != 1:
        raise UsageError("verify --explain: expected one capture", code="E279", hint="name one capture")
    (target,) = _named(targets, config, store_url, [])
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


def _trust(path: Path) -> Trust:
    try:
        with path.open("rb") as file:
            return parse_trust(file.read(MAX_TRUST_FILE_BYTES + 1))
    except TrustError as error:
        raise UsageError(error.message, code=error.code, hint=error.hint) from error
    except OSError as error:
        raise UsageError(
            f"trust file {path}: expected a readable file, got {error.strerror}",
            code="E280",
            hint="check the path",
        ) from error


def _store(config: Path | None, store_url: str | None) -> Store:
    return open_stores(settings_of(config, store=store_url))


def _all(store: Store, unfinished: list[str]) -> Iterator[Target]:
    """Yield the captures of a store; IDs of those without a record go to *unfinished*."""
    for capture_id in capture_ids(store):
        try:
            store.stat(f"{capture_prefix(capture_id)}record.json")
        except ObjectMissing:
            unfinished.append(capture_id)
        else:
            yield Target(evidence_set(store, capture_id), f"capture {capture_id}", capture_id)


def _named(
    targets: Sequence[str], config: Path | None, store_url: str | None, unfinished: list[str]
) -> Iterator[Target]:
    for text in targets:
        path = Path(text)
        if text and path.is_file() and path.suffix.lower() == ".zip":
            with tempfile.TemporaryDirectory(prefix="verify-") as folder:
                unpack_export(path, Path(folder))
                yield from _of_folder(Path(folder), path.name, unfinished)
        elif not text or not path.is_dir():
            store = _store(config, store_url)
            (capture_id,) = full_ids(store, [text])
            yield Target(evidence_set(store, capture_id), f"capture {capture_id}", capture_id)
        else:
            yield from _of_folder(path, path.name, unfinished)


def _of_folder(path: Path, name: str, unfinished: list[str]) -> Iterator[Target]:
    """Yield the captures of an export, or the one whose folder it is, also one folder down."""
    inner = list(path.iterdir())
    if len(inner) == 1 and inner[0].is_dir() and inner[0].name != "captures":
        path = inner[0]
    if (path / "captures").is_dir():
        yield from _all(FolderStore(path), unfinished)
    else:
        # The folder of one capture may have been renamed; its record says which it is.
        capture_id = path.name if CAPTURE_ID.fullmatch(path.name) else ""
        yield Target(FolderSet(path), f"folder {name}", capture_id)
