"""What two captures are compared by, out of a store: checked against their records as it is read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from archiver.errors import UsageError
from archiver.fetching import fetch_artifact, read_artifact
from archiver.reports.difference import (
    HeaderChange,
    PictureDifference,
    TextDifference,
    header_changes,
    picture_difference,
    text_difference,
)
from archiver.reports.pictures import PictureUnreadable
from archiver.summary import load_record

if TYPE_CHECKING:
    from manifests.record import Artifact, EvidenceRecord
    from storage.interface import Store

PICTURES = "screenshot-full"
MAX_TEXT_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Difference:
    """How capture B differs from capture A.

    Args:
        before: Record of A.
        after: Record of B.
        facts: What differs of outcome, status, address, title: name, in A, in B.
        text: Of the visible text; None when one has none to be read.
        headers: Of the answer for the page; None likewise.
        pictures: Of each screenshot or tile that both have.
        record_sha256: Digests of the two records.
        left_out: What was not compared, and why.
    """

    before: EvidenceRecord
    after: EvidenceRecord
    facts: list[tuple[str, str, str]]
    text: TextDifference | None = None
    headers: list[HeaderChange] | None = None
    pictures: list[PictureDifference] = field(default_factory=list)
    record_sha256: tuple[str, str] = ("", "")
    left_out: list[str] = field(default_factory=list)


def compare_captures(store: Store, first: str, second: str, folder: Path) -> Difference:
    """Compare two captures of *store*.

    Args:
        store: Where they lie.
        first: ID of capture A.
        second: ID of capture B.
        folder: For what is unpacked.

    Raises:
        UsageError: E260, there is no such capture.
        DigestMismatch: E118, a file is not what its record states.
    """
    (before, before_bytes), (after, after_bytes) = load_record(store, first), load_record(store, second)
    found = Difference(before, after, _facts(before, after))
    found.record_sha256 = (
        hashlib.sha256(before_bytes).hexdigest(),
        hashlib.sha256(after_bytes).hexdigest(),
    )
    try:
        texts = [
            read_artifact(store, one, _first(one, "text"), MAX_TEXT_BYTES).decode("utf-8", "replace")
            for one in (before, after)
        ]
        found.text = text_difference(*texts)
    except UsageError as error:
        found.left_out.append(f"text: {error}")
    try:
        heads = [_headers(store, one, folder) for one in (before, after)]
        found.headers = header_changes(*heads)
    except (UsageError, ArchiveLoadFailed, zipfile.BadZipFile, KeyError) as error:
        found.left_out.append(f"headers: {error}")
    _compare_pictures(store, found)
    return found


def _facts(before: EvidenceRecord, after: EvidenceRecord) -> list[tuple[str, str, str]]:
    def of(one: EvidenceRecord) -> dict[str, str]:
        return {
            "address asked for": one.seed.url,
            "address arrived at": one.target.final_url or "",
            "outcome": one.outcome.kind,
            "reason": one.outcome.reason,
            "HTTP status": str(one.target.http_status or ""),
            "title": one.target.title or "",
            "vantage": one.environment.vantage or "",
            "completeness": one.completeness.state,
        }

    first, second = of(before), of(after)
    return [(name, first[name], second[name]) for name in first if first[name] != second[name]]


def _first(record: EvidenceRecord, role: str) -> Artifact:
    found = next((one for one in record.artifacts if one.role == role), None)
    if found is None or found.path.endswith(".age"):
        raise UsageError(
            f"capture {record.capture_id}: expected an artefact of role {role} that can be read, got none",
            code="E165",
        )
    return found


def _headers(store: Store, record: EvidenceRecord, folder: Path) -> list[tuple[str, str]]:
    """Return the status line and header fields of the answer for the page itself."""
    place = folder / record.capture_id
    place.mkdir(exist_ok=True)
    package = fetch_artifact(store, record, "package", place)
    wanted = (record.target.final_url or "", *(one.location for one in record.target.redirects[::-1]))
    wanted = tuple(one.partition("#")[0] for one in (*wanted, record.seed.url) if one)
    best: tuple[int, list[tuple[str, str]]] | None = None
    with zipfile.ZipFile(package) as wacz, wacz.open("archive/data.warc.gz") as warc:
        for one in ArchiveIterator(warc):
            url = (one.rec_headers.get_header("WARC-Target-URI") or "").partition("#")[0]
            if one.rec_type != "response" or url not in wanted or one.http_headers is None:
                continue
            rank = wanted.index(url)
            if best is None or rank < best[0]:
                line = one.http_headers.statusline
                best = rank, [("(status)", line), *one.http_headers.headers]
    package.unlink()
    if best is None:
        raise UsageError(
            f"capture {record.capture_id}: expected an answer for the page, got none", code="E165"
        )
    return best[1]


def _compare_pictures(store: Store, found: Difference) -> None:
    """Compare tile by tile: tiles of one height stand at the same place of both pages."""
    tiles = [_tiles(one) for one in (found.before, found.after)]
    for record, of_one in zip((found.before, found.after), tiles, strict=True):
        if not of_one:
            found.left_out.append(f"pictures: capture {record.capture_id} has none that can be read")
    for place in sorted(tiles[0].keys() & tiles[1].keys()):
        try:
            before = _picture(store, found.before, tiles[0][place])
            after = _picture(store, found.after, tiles[1][place])
            found.pictures.append(picture_difference(before, after, place))
        except (PictureUnreadable, UsageError) as error:
            found.left_out.append(f"picture at {place} px: {error}")
    if all(tiles):
        for place in sorted(tiles[0].keys() ^ tiles[1].keys()):
            which = "first" if place in tiles[0] else "second"
            found.left_out.append(f"picture at {place} px: only the {which} capture reaches so far down")


def _tiles(record: EvidenceRecord) -> dict[int, Artifact]:
    pictures = [one for one in record.artifacts if one.role == PICTURES and one.path.endswith(".png")]
    return {one.offset_y_px or 0: one for one in pictures}


def _picture(store: Store, record: EvidenceRecord, artifact: Artifact) -> Image.Image:
    data = read_artifact(store, record, artifact, artifact.bytes)
    try:
        picture = Image.open(io.BytesIO(data), formats=["PNG"])
        picture.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise PictureUnreadable(
            f"picture {artifact.path}: expected a PNG, got: {error}"[:300], code="E222"
        ) from error
    return picture


def as_json(found: Difference) -> dict[str, object]:
    """Return the difference as JSON values, without pictures."""
    return {
        "before": found.before.capture_id,
        "after": found.after.capture_id,
        "record_sha256": list(found.record_sha256),
        "started_at": [found.before.started_at, found.after.started_at],
        "facts": [{"name": name, "before": was, "after": now} for name, was, now in found.facts],
        "headers": None
        if found.headers is None
        else [{"name": one.name, "before": one.before, "after": one.after} for one in found.headers],
        "text": None
        if found.text is None
        else {
            "added": found.text.added,
            "removed": found.text.removed,
            "cut": found.text.is_cut,
            "lines": [kind + text for kind, text in found.text.lines],
        },
        "pictures": [
            {
                "changed_percent": one.changed_percent,
                "regions": [
                    {"x": at.x_px, "y": at.y_px, "width": at.width_px, "height": at.height_px}
                    for at in one.regions
                ],
            }
            for one in found.pictures
        ],
        "not_compared": found.left_out,
    }


def in_words(found: Difference) -> Iterator[str]:
    """Yield the difference as lines of text, not cleaned for a terminal."""
    for name, was, now in found.facts:
        yield f"{name}: {was or 'none'} -> {now or 'none'}"
    for one in found.headers or ():
        yield f"header {one.name}: {one.before or 'none'} -> {one.after or 'none'}"
    if found.text is not None:
        yield f"text: {found.text.added} lines added, {found.text.removed} removed"
        yield from (f"  {kind}{text}" for kind, text in found.text.lines)
    for picture in found.pictures:
        yield f"picture: {picture.changed_percent} % changed in {len(picture.regions)} regions"
        for at in picture.regions:
            yield f"  {at.width_px} x {at.height_px} px at {at.x_px}, {at.y_px}"
    yield from (f"not compared: {why}" for why in found.left_out)
