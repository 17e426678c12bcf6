"""What a reader would have seen after clicking: each kind of platform page, before and after."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from warcio.archiveiterator import ArchiveIterator

from examples.sites import hosts
from examples.sites.platforms import PLATFORMS
from tests.browser.conftest import Bench

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("behaviours")]

ALL_REPLIES = [f"Ответ {page}.{place}" for page in (1, 2, 3) for place in (1, 2, 3)]
SAID = {
    "facebook.html": ["ПОЛНЫЙ ТЕКСТ ПОСТА", *ALL_REPLIES],
    "instagram.html": ["ПОЛНАЯ ПОДПИСЬ", *ALL_REPLIES],
    "threads.html": ["СКРЫТЫЕ ОТВЕТЫ"],
    "x.html": ["ВЕСЬ ТЕКСТ", "СКРЫТЫЙ ОТВЕТ"],
    "telegram.html": ["ОТКРЫТЫЙ СПОЙЛЕР", *ALL_REPLIES],
    "youtube.html": ["ПОЛНОЕ ОПИСАНИЕ", *ALL_REPLIES[:6]],
    "tiktok.html": ["ВСЁ ОПИСАНИЕ РОЛИКА", *ALL_REPLIES[3:]],
    "vk.html": ["КОНЕЦ ЗАПИСИ", *ALL_REPLIES],
    "news.html": ["МАҚАЛАНЫҢ СОҢЫ", *ALL_REPLIES],
    "application.html": ["Строка 40", *ALL_REPLIES[:3]],
    "wide.html": ["ПРАВЫЙ КРАЙ"],
}
"""What the text must hold that is not there before something is clicked or scrolled."""
OTHERS = ["endless.html", "tower.html"]
URLS = {one.template: f"https://{one.host}{one.path}" for one in PLATFORMS if one.host != hosts.TALK}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, sites) -> tuple[Bench, dict[str, dict[str, Any]]]:
    """Every platform page, captured once with behaviours."""
    bench = Bench(tmp_path_factory.mktemp("read"), sites, {"ARCHIVER_LIMITS_SETTLE_MS": "2000"})
    captures = bench.capture(*(URLS[name] for name in [*SAID, *OTHERS]))
    return bench, {name: one for name, url in URLS.items() for one in captures if one["url"] == url}


def exchanges(bench: Bench, capture: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """Yield type, URL and body of each record of the capture's WARC."""
    package = zipfile.ZipFile(bench.file(capture, "capture.wacz"))
    with package, package.open("archive/data.warc.gz") as file:
        for record in ArchiveIterator(file):
            uri = record.rec_headers.get_header("WARC-Target-URI") or ""
            yield record.rec_type, uri, record.raw_stream.read()


def steps(bench: Bench, capture: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["kind"], step["detail"] or "") for step in bench.record(capture)["actions"]]


def size_of(path) -> tuple[int, int]:
    return struct.unpack(">II", path.read_bytes()[16:24])


@pytest.mark.parametrize("name", SAID)
def test_what_was_folded_is_in_the_text_and_its_bytes_are_in_the_warc(read, name):
    """What appears on a click or on scrolling is in text.txt, and what brought it is in the WARC."""
    bench, captures = read
    text = bench.file(captures[name], "text.txt").read_text()
    assert [words for words in SAID[name] if words not in text] == []
    pages = sorted({words[6] for words in SAID[name] if words.startswith("Ответ")})
    brought = {
        uri.rpartition("=")[2] for kind, uri, _ in exchanges(bench, captures[name]) if "/api/replies" in uri
    }
    assert brought.issuperset(pages)


@pytest.mark.parametrize("name", [*SAID, *OTHERS])
def test_nothing_is_liked_followed_bought_submitted_or_consented_to(read, name):
    """No request leaves that one of the forbidden controls would have sent, and no form is handed in."""
    bench, captures = read
    sent = [uri for _, uri, _ in exchanges(bench, captures[name]) if "/api/harm" in uri or "/comment" in uri]
    assert sent == []
    assert captures[name]["outcome"] == "captured"


@pytest.mark.parametrize("name", SAID)
def test_the_first_screenshots_show_the_page_before_anything_was_done(read, name):
    """A page that is acted upon has a whole picture from before; one with nothing to do has none."""
    bench, captures = read
    roles = [one["role"] for one in bench.record(captures[name])["artifacts"]]
    assert ("screenshot-before" in roles) == (name != "wide.html")
    assert "screenshot-viewport" in roles
    if "screenshot-before" in roles:
        before = Image.open(bench.file(captures[name], "screenshot-before.png"))
        after = Image.open(bench.file(captures[name], "screenshot-full.png"))
        assert before.tobytes() != after.tobytes()


def dark_share(path) -> float:
    """Share of the window's middle that the veil of an overlay darkens."""
    window = Image.open(path).convert("L").crop((0, 60, 1280, 700))
    return sum(count for value, count in enumerate(window.histogram()) if value < 130) / (1280 * 640)


def test_overlays_are_in_the_first_screenshot_only_and_the_record_says_so(read):
    """The login dialog with its veil is seen before and not after; the record names how each overlay went."""
    bench, captures = read
    one = captures["facebook.html"]
    assert dark_share(bench.file(one, "screenshot-viewport.png")) > 0.5
    assert dark_share(bench.file(one, "screenshot-before.png")) > 0.5
    assert dark_share(bench.file(one, "screenshot-full.png")) < 0.1
    told = [detail for kind, detail in steps(bench, one) if kind == "dismiss"]
    assert told[0].startswith('"Мы используем файлы cookie')
    assert any("Отклонить необязательные" in detail for detail in told)
    assert sum("overlay" in line for line in bench.record(one)["alterations"]) == len(told) == 2


@pytest.mark.parametrize("name", ["instagram.html", "news.html"])
def test_an_overlay_that_only_consent_would_close_is_hidden_instead(read, name):
    """Where nothing refuses or closes, the overlay is hidden by style, and never accepted."""
    bench, captures = read
    assert any(kind == "dismiss" and "hidden" in detail for kind, detail in steps(bench, captures[name]))


def test_a_click_that_leads_away_is_stopped_and_named(read):
    """Controls that navigate by script, open a window or change the address leave the page where it was."""
    bench, captures = read
    one = captures["facebook.html"]
    record, told = bench.record(one), steps(bench, one)
    assert record["target"]["final_url"] == URLS["facebook.html"]
    assert record["completeness"]["state"] == "complete"
    assert ("stopped", f"a click would have led to https://{hosts.SOCIAL}/elsewhere") in told
    assert any("changed its address" in detail and "led back" in detail for _, detail in told)
    assert "ПОЛНЫЙ ТЕКСТ" in bench.file(one, "text.txt").read_text()


@pytest.mark.parametrize(
    ("name", "behavior"), [("telegram.html", "Telegram"), ("tiktok.html", "TikTokVideo")]
)
def test_the_library_runs_where_it_is_for_the_platform(read, name, behavior):
    """browsertrix-behaviors gives an account of itself, and the record names its very bytes."""
    bench, captures = read
    lines = [detail for kind, detail in steps(bench, captures[name]) if kind == "library"]
    assert any(f"{behavior}: All Behaviors Done" in line for line in lines)
    scripts = bench.record(captures[name])["environment"]["scripts"]
    assert {"behaviours.js", "behaviours.toml", "browsertrix-behaviors"} == {one["name"] for one in scripts}


def test_a_video_is_played_and_its_bytes_are_in_the_warc(read):
    """A film that is fetched only when it plays is held to its last byte."""
    bench, captures = read
    one = captures["youtube.html"]
    assert any(kind == "play" and "to its end" in detail for kind, detail in steps(bench, one))
    bodies = [body for kind, uri, body in exchanges(bench, one) if kind == "response" and "clip.webm" in uri]
    assert max(map(len, bodies)) > 30_000


def test_an_inner_scroll_area_is_laid_out_in_the_picture_alone(read):
    """The picture is as high as what the area holds; the stored document keeps the page's own style."""
    bench, captures = read
    one = captures["application.html"]
    assert size_of(bench.file(one, "screenshot-viewport.png"))[1] == 800
    assert size_of(bench.file(one, "screenshot-full.png"))[1] > 1_700
    assert "overflow-y: visible" not in bench.file(one, "dom.html").read_text()
    assert any("inner scroll areas" in line for line in bench.record(one)["alterations"])


def test_a_frame_of_another_site_below_the_window_is_in_the_picture(read):
    """Comments in a frame far down are painted, which Chromium does only inside its window."""
    bench, captures = read
    picture = Image.open(bench.file(captures["news.html"], "screenshot-full.png")).convert("L")
    frame = picture.crop((240, 1_720, 900, 2_100))
    assert sum(frame.histogram()[:120]) > 500
    assert picture.width == 1_280


def test_a_page_wider_than_the_window_is_shown_to_its_right_edge(read):
    """The full screenshot is as wide as the page."""
    bench, captures = read
    assert size_of(bench.file(captures["wide.html"], "screenshot-full.png"))[0] == 3_200


def test_a_page_of_nearly_a_hundred_thousand_pixels_is_shown_to_its_foot(read):
    """The tiles follow one another to the end of the page."""
    bench, captures = read
    artifacts = bench.record(captures["tower.html"])["artifacts"]
    tiles = [(one["offset_y_px"], one["height_px"]) for one in artifacts if one["role"] == "screenshot-full"]
    assert sum(tiles[-1]) > 99_000
    assert [top for top, _ in tiles[1:]] == [top + height for top, height in tiles[:-1]]


def test_a_page_that_never_falls_quiet_is_captured_with_one_word_about_it(read):
    """Its exhibits are all there, and that there was no quiet is said once."""
    bench, captures = read
    record = bench.record(captures["endless.html"])
    assert [part["part"] for part in record["completeness"]["missing"]] == ["settle"]
    assert {"screenshot-full", "pdf", "text", "dom"} <= {one["role"] for one in record["artifacts"]}


def test_behaviours_can_be_left_off(bench):
    """Without them the page stays folded and covered, no script of ours is named, and nothing was clicked."""
    (one,) = bench.capture(URLS["facebook.html"], options=("--no-behaviours",), code=None)
    record = bench.record(one)
    assert "ПОЛНЫЙ ТЕКСТ" not in bench.file(one, "text.txt").read_text()
    assert record["environment"]["scripts"] == []
    assert {kind for kind, _ in steps(bench, one)}.isdisjoint({"survey", "dismiss", "expand", "play"})
    assert dark_share(bench.file(one, "screenshot-full.png")) > 0.4


def test_the_budget_of_clicks_ends_it_and_is_named(tmp_path, sites):
    """Three clicks are three clicks; that there was more to expand is said, and the capture is incomplete."""
    bench = Bench(tmp_path, sites, {"ARCHIVER_LIMITS_BEHAVIOUR_CLICKS": "2"})
    (one,) = bench.capture(URLS["vk.html"])
    record = bench.record(one)
    assert "Ответ 3.3" not in bench.file(one, "text.txt").read_text()
    reached = {limit["name"] for limit in record["limits"] if limit["reached"]}
    assert reached == {"behaviour_clicks"}
    assert json.dumps(record["completeness"]).count("behaviours") == 1


def test_captures_that_were_acted_upon_verify(read):
    """The verifier finds nothing failed in any of them."""
    bench, _ = read
    assert '"severity": "failure"' not in json.dumps(bench.run("verify", "--all", code=None))
