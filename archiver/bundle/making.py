"""Making a bundle: captures copied out of a store into a BagIt bag that stands alone, as folder or ZIP."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import bagit

from archiver.bundle.contents import Copied, copy_captures
from archiver.bundle.editing import Plan, check_no_leak
from archiver.bundle.guide import guide
from archiver.bundle.verifier_page import verifier_page
from archiver.errors import EnvironmentUnfit, UsageError
from archiver.reports.index import Further, index_html
from archiver.version import tool_version
from manifests.edition import EDITION
from manifests.trust import Trust
from storage.interface import Store

DATA = "data"
"""The folder of a bag that holds its payload (RFC 8493, section 2.1.2)."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was made.

    Args:
        output: The folder or ZIP.
        captures: What is in it.
        size_bytes: Of the captures.
    """

    output: Path
    captures: list[Copied]
    size_bytes: int


def make_bundle(
    store: Store,
    trust: Trust | None,
    capture_ids: Sequence[str],
    output: Path,
    plan: Plan | None = None,
) -> Bundle:
    """Copy captures to *output*: a ZIP when its name ends so, else a folder.

    A folder that holds a bundle already gets the captures added; its pages then tell of these captures, and
    its manifests of everything. An edition that leaves things out is made in one go, since what is added to
    it could tell what it leaves out.

    Raises:
        UsageError: E278, there is something else at *output*.
        EditionRefused: A capture cannot be published.
        EnvironmentUnfit: E224, it cannot be written.
        DigestMismatch, ObjectMissing, StoreError: See ``copy_captures``.
    """
    if output.suffix.lower() != ".zip":
        check_output(output, is_edition=plan is not None)
        return _filled(store, trust, capture_ids, output, plan)
    if output.exists():
        raise UsageError(
            f"output {output}: expected a new file, got one that exists",
            code="E278",
            hint="name another file",
        )
    folder = output.with_name(f"{output.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        made = _filled(store, trust, capture_ids, folder, plan)
        _zip(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Bundle(output, made.captures, made.size_bytes)


def check_output(output: Path, *, is_edition: bool = False) -> None:
    """Refuse a place that holds anything but a bundle, or of which an edition is made or was made.

    Raises:
        UsageError: E278.
    """
    try:
        names = {path.name for path in output.iterdir()} if output.exists() else set()
    except OSError as error:
        raise UsageError(
            f"output {output}: expected a folder, got {error.strerror}",
            code="E278",
            hint="name another folder",
        ) from error
    # A bundle that was broken off has no more than its payload yet.
    is_foreign = bool(names - {DATA}) and "bagit.txt" not in names
    if is_foreign or (names and (is_edition or any(output.glob(f"{DATA}/captures/*/{EDITION}")))):
        raise UsageError(
            f"output {output}: expected a new or empty folder, got one with other files",
            code="E278",
            hint="name a folder that does not exist yet",
        )


def _filled(
    store: Store, trust: Trust | None, capture_ids: Sequence[str], folder: Path, plan: Plan | None
) -> Bundle:
    data = folder / DATA
    try:
        folder.mkdir(parents=True, exist_ok=True)  # a store makes no more than its own folder
        captures = list(copy_captures(store, trust, capture_ids, data, plan))
        _drop_own_files(data)
        (folder / "VERIFY.md").write_text(guide(captures, trust), encoding="utf-8")
        (folder / "verify.html").write_text(verifier_page(trust), encoding="utf-8")
        (folder / "index.html").write_text(_start_page(captures, plan), encoding="utf-8")
        check_no_leak(folder, [one.edited.secrets for one in captures if one.edited])
        _bag(folder)
    except OSError as error:
        raise EnvironmentUnfit(
            f"bundle {folder}: not written: expected room and permission, got {error.strerror}",
            code="E224",
            hint="choose another place, or free space",
        ) from error
    return Bundle(folder, captures, sum(one.size_bytes for one in captures))


def _drop_own_files(data: Path) -> None:
    """Take away what a folder store keeps for itself while it is written to."""
    for path in data.glob(".*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _start_page(captures: Sequence[Copied], plan: Plan | None) -> str:
    further = Further(
        page=[
            ("Check this bundle in the browser: verify.html", "verify.html"),
            ("How to check this bundle with other tools: VERIFY.md", "VERIFY.md"),
        ],
        captures={one.summary.capture_id: list(_links(one)) for one in captures},
    )
    # The time zone of this machine would tell where the collector sits.
    zone = UTC if plan else None
    summaries = [one.summary for one in captures]
    return index_html(summaries, DATA, made_at=datetime.now(UTC), zone=zone, further=further)


def _links(one: Copied) -> list[tuple[str, str]]:
    capture_id = one.summary.capture_id
    links = [("Check by hand", f"{DATA}/check/{capture_id}.sh")]
    if one.edited:
        links.insert(0, ("What was left out", f"{DATA}/captures/{capture_id}/{EDITION}"))
    else:
        links.insert(0, ("Custody", f"{DATA}/custody/{capture_id}.json"))
    return [("Replay", f"{DATA}/replay/{capture_id}.html"), *links] if one.has_replay else links


def _bag(folder: Path) -> None:
    """Write the tag files of a bag around the payload, or bring them up to date.

    Source: RFC 8493; the library moves payload into place only for a new bag, and ours lies there already.
    """
    info = {
        "Bag-Software-Agent": f"archiver {tool_version()}",
        "Bagging-Date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    (folder / "bagit.txt").write_text(
        "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", encoding="utf-8"
    )
    # The library reads which algorithms a bag uses from its manifests.
    (folder / "manifest-sha256.txt").touch()
    bag = bagit.Bag(str(folder))
    bag.info.update(info)
    bag.save(manifests=True)


def _zip(folder: Path, output: Path) -> None:
    part = output.with_name(f"{output.name}.zip-part")
    with zipfile.ZipFile(part, "x", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{output.stem}/{path.relative_to(folder).as_posix()}")
    part.replace(output)
