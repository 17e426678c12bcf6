"""Whether a stored capture shows in a replay what the browser showed when it was made: scored, and kept.

Scores are in permille. *Screenshot*: share of pixels of the window that look alike. *Text*: share of word
pairs that both texts have. *Requests*: share of what the replayed page asked for that the package answers as
the server did. The result lies at ``quality/<capture_id>/<SHA-256>.json`` with its screenshot beside it,
outside the capture: it is about the package, was made later, and is no evidence of the page.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import re
import tempfile
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from PIL import Image, ImageChops

from archiver.assets import REPLAY_UI, REPLAY_WORKER, asset
from archiver.capture.browser import find_browser
from archiver.capture.limits import View
from archiver.capture.replay import Replayed, replay
from archiver.capture.rig import describe
from archiver.config import cache_folder
from archiver.errors import UsageError
from archiver.fetching import fetch_artifact
from archiver.preservation.receipts import quality_prefix
from archiver.spool import utc_text
from archiver.summary import load_record
from archiver.version import tool_version
from manifests.canonical import canonical_bytes
from manifests.digests import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from archiver.capture.replay import Asked
    from archiver.config import Settings
    from manifests.record import EvidenceRecord
    from storage.interface import Store

FORMAT = "replay-check/1"
FLOOR = 950
ALIKE = 25
"""Of 255: what a channel may differ by in a pixel that looks alike, as pixelmatch has it by default."""
MAX_LISTED = 200
STATEMENT = (
    "A check of quality, made later from the package. It is no evidence of the page and is not sealed."
)
_FRAME_LINE = re.compile(r"^\[frame .*\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ReplayCheck:
    """What came of it.

    Args:
        screenshot: Permille.
        text: Permille.
        requests: Permille.
        asked: Requests of the replayed page.
        missing: URLs that the package does not answer as the server did.
        outside: URLs that went past the package, at a network that was cut.
        key: Where it was kept in the store.
    """

    screenshot: int
    text: int
    requests: int
    asked: int
    missing: tuple[str, ...]
    outside: tuple[str, ...]
    key: str = ""

    @property
    def passed(self) -> bool:
        """Whether every score is at least ``FLOOR``."""
        return min(self.screenshot, self.text, self.requests) >= FLOOR


def check_replay(store: Store, capture_id: str, settings: Settings) -> ReplayCheck:
    """Replay a capture with the network cut, score it, and keep the result.

    Raises:
        UsageError: E165, it has no package that can be read; E169, it is not of a page.
        EnvironmentUnfit: There is no browser or no viewer, or the viewer does not show the page.
        StoreError: A file cannot be read, or the result not be put.
    """
    record, data = load_record(store, capture_id)
    window = record.environment.viewport
    roles = {one.role for one in record.artifacts}
    if window is None or not {"screenshot-viewport", "text"} <= roles:
        raise UsageError(
            f"capture {capture_id}: expected a page with a screenshot and a text, got {record.outcome.kind}",
            code="E169",
            hint="a failure or a file that was downloaded is not replayed; look at it with `archiver open`",
        )
    view = View(
        width_px=window.width_px,
        height_px=window.height_px,
        scale_percent=window.scale_percent,
        locale=record.environment.locale or View().locale,
        timezone=record.environment.timezone or View().timezone,
    )
    executable = find_browser(settings.browser or None)
    facts = describe(executable, cache_folder(), view, record.environment.user_agent or "")
    with tempfile.TemporaryDirectory(prefix="replay-check-") as name:
        folder = Path(name)
        package = fetch_artifact(store, record, "package", folder)
        shown = fetch_artifact(store, record, "screenshot-viewport", folder)
        text = fetch_artifact(store, record, "text", folder).read_text("utf-8", errors="replace")
        url = record.target.final_url or record.seed.url
        replayed = asyncio.run(replay(executable, facts, package, url, view))
        found = score(replayed, shown.read_bytes(), text, answers_of(package))
    means = {
        "record_sha256": digest_bytes(data).sha256,
        "package_sha256": next(one.sha256 for one in record.artifacts if one.role == "package"),
        "tool": f"archiver {tool_version()}",
        "viewer": {
            "name": "replayweb.page",
            "ui_sha256": _sha256(asset(REPLAY_UI)),
            "worker_sha256": _sha256(asset(REPLAY_WORKER)),
        },
        "browser": {"name": facts.product, "version": facts.version, "sha256": facts.sha256},
    }
    return replace(found, key=_keep(store, record, found, replayed.screenshot, means))


def score(replayed: Replayed, screenshot: bytes, text: str, answers: dict[str, set[int]]) -> ReplayCheck:
    """Compare a replay with what the capture holds.

    Args:
        replayed: The replay.
        screenshot: PNG of the window in the capture.
        text: Visible text in the capture.
        answers: Statuses in the package by URL, as ``answers_of`` gives them.
    """
    missing = [one.url for one in replayed.asked if one.inside and _is_missing(one, answers)]
    outside = [one.url for one in replayed.asked if not one.inside]
    asked = len(replayed.asked)
    gaps = len(missing) + len(outside)
    return ReplayCheck(
        screenshot=likeness(screenshot, replayed.screenshot),
        text=text_likeness(text, replayed.text),
        requests=1000 if not asked else (asked - gaps) * 1000 // asked,
        asked=asked,
        missing=tuple(dict.fromkeys(missing)),
        outside=tuple(dict.fromkeys(outside)),
    )


def _is_missing(asked: Asked, answers: dict[str, set[int]]) -> bool:
    known = answers.get(_plain(asked.url), set())
    return asked.status not in known if asked.status >= 400 else not asked.status and not known


def answers_of(package: Path) -> dict[str, set[int]]:
    """Return the statuses that a package holds by URL, percent-decoded and without fragment."""
    answers: dict[str, set[int]] = defaultdict(set)
    with zipfile.ZipFile(package) as wacz, wacz.open("indexes/index.cdxj") as lines:
        for line in lines:
            facts = json.loads(line.split(b" ", 2)[2])
            if status := facts.get("status"):
                answers[_plain(facts["url"])].add(int(status))
    return dict(answers)


def _plain(url: str) -> str:
    return unquote(url.partition("#")[0])


def likeness(one: bytes, other: bytes) -> int:
    """Return the permille of pixels that look alike in two PNGs; 0 where their sizes differ."""
    first, second = (Image.open(io.BytesIO(data)).convert("RGB") for data in (one, other))
    if first.size != second.size:
        return 0
    bands = ImageChops.difference(first, second).split()
    worst = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    counts = worst.histogram()
    return sum(counts[: ALIKE + 1]) * 1000 // sum(counts)


def text_likeness(one: str, other: str) -> int:
    """Return the permille of neighbouring words that two texts share; headings of frames are left out."""
    first, second = _pairs(one), _pairs(other)
    size = first.total() + second.total()
    return 1000 if not size else 2 * (first & second).total() * 1000 // size


def _pairs(text: str) -> Counter[tuple[str, str]]:
    words = ["", *_FRAME_LINE.sub("", text).split()]
    return Counter(itertools.pairwise(words))


def _keep(
    store: Store, record: EvidenceRecord, found: ReplayCheck, screenshot: bytes, means: dict[str, Any]
) -> str:
    """Put the result beside the capture, under names that check it; return its key."""
    prefix = quality_prefix(record.capture_id)
    picture = f"{digest_bytes(screenshot).sha256}.png"
    facts = {
        "format": FORMAT,
        "is_evidence": False,
        "statement": STATEMENT,
        "capture_id": record.capture_id,
        "checked_at": utc_text(datetime.now(UTC)),
        **means,
        "scores_permille": {"screenshot": found.screenshot, "text": found.text, "requests": found.requests},
        "floor_permille": FLOOR,
        "passed": found.passed,
        "asked_count": found.asked,
        "missing": _listed(found.missing),
        "outside": _listed(found.outside),
        "screenshot": picture,
    }
    store.put(prefix + picture, screenshot)
    data = canonical_bytes(facts)
    key = f"{prefix}{digest_bytes(data).sha256}.json"
    store.put(key, data)
    return key


def _listed(urls: Iterable[str]) -> list[str]:
    return [url[:2000] for url in urls][:MAX_LISTED]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
