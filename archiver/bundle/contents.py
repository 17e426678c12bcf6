"""What goes into a bundle below ``data/``: the captures, and what proves and explains them.

``data/`` is a folder store itself: ``archiver verify`` checks it, ``archiver list --store`` lists it::

    captures/<id>/...       as in the store, each file's digest checked as it is copied
    incidents/...           which capture belongs to which incident
    log/...                 the part of the custody log that proofs need
    custody/<id>.json       the custody events of the capture
    check/<id>.sh           the commands that check the capture without our program
    trust.toml              keys, authorities and logs that the maker of the bundle relied on

An edition that leaves things out has no ``custody/``, and redacted copies with their list in ``captures/``.
    replay/                 replayweb.page, and a page for each capture that has a package
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from archiver.assets import REPLAY_UI, REPLAY_WORKER, asset
from archiver.bundle.editing import Edited, Plan, edit_capture
from archiver.bundle.templating import template
from archiver.errors import EnvironmentUnfit
from archiver.log_part import copy_log_part
from archiver.proof_files import custody_events, read_seal
from archiver.summary import CaptureSummary, capture_prefix, load_record, seal_state, summarise
from manifests.explain import explain
from manifests.record import Artifact, EvidenceRecord
from manifests.trust import Trust, render_trust
from storage.folder import FolderStore
from storage.interface import Store


@dataclass(frozen=True, slots=True)
class Copied:
    """One capture of a bundle.

    Args:
        summary: What lists show of it.
        record: Its evidence record.
        record_sha256: Of its bytes.
        size_bytes: All its files together.
        has_replay: There is a page that replays it.
        edited: What an edition has of it; None when the bundle has all.
    """

    summary: CaptureSummary
    record: EvidenceRecord
    record_sha256: str
    size_bytes: int
    has_replay: bool
    edited: Edited | None = None


def copy_captures(
    store: Store, trust: Trust | None, capture_ids: Sequence[str], data: Path, plan: Plan | None = None
) -> Iterator[Copied]:
    """Copy captures and what belongs to them to the folder *data*, one after the other.

    Args:
        store: Holds them.
        trust: What the bundle names for its checks.
        capture_ids: Which.
        data: The payload's folder.
        plan: Of the edition that is made; None for everything.

    Raises:
        EditionRefused: A capture cannot be published.
        DigestMismatch, ObjectMissing: A file is not what the record lists.
        StoreError: The store cannot be read, or the folder not be written.
    """
    data.parent.mkdir(parents=True, exist_ok=True)  # a store is made in a folder that is there
    target = FolderStore(data)
    replay = _replay_files(data / "replay")
    for capture_id in capture_ids:
        record, record_bytes = load_record(store, capture_id)
        edited = edit_capture(store, target, record, record_bytes, plan) if plan else None
        kept = edited.kept if edited else record.artifacts
        size_bytes = sum(_copy(store, target, record, record_bytes, kept))
        seal = read_seal(store, capture_id)
        _write(data / "check" / f"{capture_id}.sh", explain(_having(record, kept), seal, trust or Trust()))
        if edited is None:
            events = custody_events(store, trust, capture_id) or []
            _write(data / "custody" / f"{capture_id}.json", _events_text(events))
        package = next((one.path for one in record.artifacts if one.role == "package"), None)
        if edited and package:
            package = edited.copies.get(package)
        if replay and package:
            page = _replay_page(record, f"../captures/{capture_id}/{package}")
            _write(data / "replay" / f"{capture_id}.html", page)
        yield Copied(
            summary=summarise(_having(record, kept), seal_state(seal)),
            record=record,
            record_sha256=hashlib.sha256(record_bytes).hexdigest(),
            size_bytes=size_bytes,
            has_replay=replay and package is not None,
            edited=edited,
        )
    copy_log_part(store, target, capture_ids)
    if trust is not None:
        _write(data / "trust.toml", render_trust(trust))


def _having(record: EvidenceRecord, kept: tuple[Artifact, ...]) -> EvidenceRecord:
    """Return the record as a list of the files that are there; only to be read from, never to be stored."""
    return msgspec.structs.replace(record, artifacts=kept)


def _copy(
    store: Store, target: FolderStore, record: EvidenceRecord, data: bytes, kept: Sequence[Artifact]
) -> Iterator[int]:
    """Copy one capture, its record last, and yield the size of each file."""
    prefix = capture_prefix(record.capture_id)
    listed = {prefix + artifact.path: artifact.sha256 for artifact in kept}
    beside = [f"{prefix}seal/"]
    beside += [f"incidents/{incident_id}/{record.capture_id}.json" for incident_id in record.incident_ids]
    further = [info.key for start in beside for info in store.list(start)]
    for key in [*listed, *further]:
        with store.open(key) as source:
            yield target.put(key, source, sha256=listed.get(key)).size_bytes
    yield target.put(f"{prefix}record.json", data).size_bytes


def _events_text(events: Sequence[tuple[int, msgspec.Struct]]) -> str:
    plain = [{"index": index, **msgspec.to_builtins(event)} for index, event in events]
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _replay_files(folder: Path) -> bool:
    """Put the player there; False on a machine that has none, where the bundle is whole without it."""
    try:
        sources = [asset(name) for name in (REPLAY_UI, REPLAY_WORKER)]
    except EnvironmentUnfit:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copyfile(source, folder / source.name)
    return True


def _replay_page(record: EvidenceRecord, package: str) -> str:
    return template("replay.html").render(
        capture_id=record.capture_id, package=package, url=record.target.final_url or record.seed.url
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
