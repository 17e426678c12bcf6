from __future__ import annotations

import asyncio
import io
import json
import zipfile

import pytest
from PIL import Image

from archiver.assets import REPLAY_UI, REPLAY_WORKER, asset
from archiver.capture.browser import find_browser
from archiver.capture.limits import View
from archiver.capture.replay import Asked, Replayed, replay
from archiver.capture.rig import describe
from archiver.errors import EnvironmentUnfit
from archiver.replay_checking import answers_of, likeness, score, text_likeness


def have_viewer() -> bool:
    try:
        return bool(asset(REPLAY_UI) and asset(REPLAY_WORKER))
    except EnvironmentUnfit:
        return False


NEEDS_VIEWER = pytest.mark.skipif(not have_viewer(), reason="needs replayweb.page from npm")
IN_BROWSER = [pytest.mark.browser, pytest.mark.xdist_group("quarter"), NEEDS_VIEWER]


def in_browser(test):
    for mark in IN_BROWSER:
        test = mark(test)
    return test


def pages(quarter, count):
    """The first captures of pages, each of another host."""
    found = {}
    for one in quarter[1]:
        roles = {artifact["role"] for artifact in one["artifacts"]}
        if one["outcome"] == "captured" and {"text", "screenshot-viewport"} <= roles:
            found.setdefault(one["url"].split("/")[2], one)
    return list(found.values())[:count]


def verdict(bench, one):
    (report,) = bench.run("verify", one["capture_id"], code=None)["reports"]
    return report["verdicts"], report["findings"]


@in_browser
def test_captured_pages_replay_as_they_were(quarter):
    """With the network cut the package alone shows the page again; the result is kept and is no evidence."""
    bench, _ = quarter
    for one in pages(quarter, 3):
        before = verdict(bench, one)
        told = bench.run("replay-check", one["capture_id"], code=None)
        assert told["passed"], (one["url"], told)
        assert min(told["screenshot"], told["text"], told["requests"]) >= 950
        assert told["asked"] >= 2
        kept = json.loads((bench.store / told["key"]).read_bytes())
        assert kept["is_evidence"] is False
        assert "no evidence" in kept["statement"]
        assert (bench.store / told["key"]).with_name(kept["screenshot"]).read_bytes()[:4] == b"\x89PNG"
        assert verdict(bench, one) == before


@in_browser
def test_an_audit_finds_the_results_in_order(quarter):
    """Checks of quality are known to the audit, and their names check them."""
    bench, _ = quarter
    (one,) = pages(quarter, 1)
    key = bench.run("replay-check", one["capture_id"], code=None)["key"]
    told = bench.run("audit", code=None)
    assert key not in json.dumps(told)


@in_browser
def test_a_failure_is_not_replayed(quarter):
    """What was never a page is refused with a hint, not scored."""
    bench, captures = quarter
    failed = next(one for one in captures if one["outcome"] == "unreachable")
    bench.run("replay-check", failed["capture_id"], code=2)


@in_browser
def test_a_hole_in_the_package_is_seen(quarter, tmp_path):
    """Pictures that are taken out of the index are missing in the replay, and named."""
    bench, _ = quarter
    (one,) = pages(quarter, 1)
    whole = bench.file(one, "capture.wacz")
    holed = tmp_path / "capture.wacz"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(holed, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "indexes/index.cdxj":
                lines = data.splitlines(keepends=True)
                data = b"".join(line for line in lines if b'"mime": "image/' not in line or b"urn:" in line)
            target.writestr(name, data)
    view = View()
    executable = find_browser(None)
    facts = describe(executable, tmp_path, view, "")
    url = bench.record(one)["target"]["final_url"] or one["url"]
    shown = asyncio.run(replay(executable, facts, holed, url, view))
    found = score(shown, bench.file(one, "screenshot-viewport.png").read_bytes(), "", answers_of(holed))
    assert found.missing != ()
    assert found.requests < 950
    assert not found.passed


def png(colours: list[tuple[int, int, int]]) -> bytes:
    image = Image.new("RGB", (len(colours), 1))
    image.putdata(colours)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_pictures_are_compared_pixel_by_pixel():
    """A shade is alike, another colour is not, another size is nothing like it."""
    one = png([(0, 0, 0), (10, 10, 10), (200, 0, 0), (0, 0, 200)])
    other = png([(0, 0, 0), (20, 10, 10), (200, 0, 0), (0, 200, 0)])
    assert (likeness(one, one), likeness(one, other), likeness(one, png([(0, 0, 0)]))) == (1000, 750, 0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", 1000),
        ("суд вынес решение", "суд  вынес\nрешение", 1000),
        ("суд вынес решение", "", 0),
        ("a b c d", "d c b a", 0),
        ("a b c d", "a b x d", 500),
        ("a b\n\n[frame https://a/]\nc", "a b\n\nc", 1000),
    ],
)
def test_texts_are_compared_in_order(one, other, expected):
    """White space and headings of frames count for nothing, the order of words does."""
    assert text_likeness(one, other) == expected


@pytest.mark.parametrize(
    ("asked", "missing", "outside"),
    [
        (Asked("https://a/", 200, inside=True), 0, 0),
        (Asked("https://a/gone", 404, inside=True), 0, 0),
        (Asked("https://a/", 404, inside=True), 1, 0),
        (Asked("https://a/new", 404, inside=True), 1, 0),
        (Asked("https://a/new", 0, inside=True), 1, 0),
        (Asked("https://a/%D1%81", 200, inside=True), 0, 0),
        (Asked("https://elsewhere/", 0, inside=False), 0, 1),
        (Asked("https://elsewhere/", 200, inside=False), 0, 1),
    ],
)
def test_requests_without_their_answer_count(asked, missing, outside):
    """An error that the server gave too is faithful; any other, and any way past the package, is a gap."""
    answers = {"https://a/": {200}, "https://a/gone": {404}, "https://a/с": {200}}
    picture = png([(0, 0, 0)])
    found = score(Replayed(picture, "", [asked]), picture, "", answers)
    assert (len(found.missing), len(found.outside)) == (missing, outside)
    assert found.passed is not bool(missing or outside)
