from __future__ import annotations

import base64
import hashlib
import io
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from archiver.reports.difference import (
    MAX_LINES,
    MAX_REGIONS,
    header_changes,
    picture_difference,
    text_difference,
)
from archiver.reports.difference_page import difference_html
from archiver.reports.difference_source import as_json, compare_captures, in_words
from manifests.codec import encode
from manifests.record import Outcome, Target
from storage.errors import DigestMismatch
from storage.folder import FolderStore
from tests.unit.archiver.cli.stored import capture_id, listed
from tests.unit.manifests.records import record


def picture(*boxes, size=(400, 300)):
    made = Image.new("RGB", size, "white")
    for box in boxes:
        ImageDraw.Draw(made).rectangle(box, fill="black")
    return made


BLANK = picture()


def png(made: Image.Image) -> bytes:
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()


def put(root, number, text="one\ntwo", kind="captured", tiles=(BLANK,), **changes):
    store, one = FolderStore(root), capture_id(number)
    files = {"text.txt": ("text", "text/plain", text.encode(), {})}
    for index, tile in enumerate(tiles):
        data = tile if isinstance(tile, bytes) else png(tile)
        files[f"screenshot-full-{index}.png"] = (
            "screenshot-full",
            "image/png",
            data,
            {"offset_y_px": 300 * index},
        )
    values = {
        "capture_id": one,
        "outcome": Outcome(kind=kind, reason="it was so", confidence_percent=90),
        "target": Target(url="https://a.test/", final_url="https://a.test/", http_status=200, title="T"),
    }
    made = record(
        artifacts=tuple(
            listed(name, role, media, data, **facts) for name, (role, media, data, facts) in files.items()
        ),
        **(values | changes),
    )
    for name, (_, _, data, _) in files.items():
        store.put(f"captures/{one}/{name}", data)
    store.put(f"captures/{one}/record.json", encode(made))
    return store


def test_two_changed_places_are_two_regions_at_their_place_on_the_page():
    """A vanished post and a changed counter are framed apart, to the pixel."""
    before = picture((10, 20, 59, 39), (300, 200, 309, 209))
    found = picture_difference(before, picture(), offset_y_px=8_192)
    assert [(one.x_px, one.y_px, one.width_px, one.height_px) for one in found.regions] == [
        (10, 8_212, 50, 20),
        (300, 8_392, 10, 10),
    ]
    assert found.changed_percent == pytest.approx(100 * (1000 + 100) / 120_000, abs=0.01)
    assert found.after.getpixel((8, 18)) == (213, 0, 50)
    assert before.getpixel((8, 18)) == (255, 255, 255)


def test_equal_pictures_have_no_region_and_fine_noise_is_none():
    """What a second rendering changes by a shade is no change of the page."""
    noisy = Image.new("RGB", (400, 300), (250, 250, 250))
    assert picture_difference(picture(), picture()).regions == []
    assert picture_difference(picture(), noisy).regions == []


def test_where_only_one_page_reaches_has_changed():
    """A page that lost its lower half differs there, also where that half was black."""
    found = picture_difference(picture((0, 100, 399, 299)), picture(size=(400, 100)))
    assert [(one.y_px, one.height_px) for one in found.regions] == [(100, 200)]


def test_a_page_that_changed_everywhere_has_one_region():
    """A thousand frames would hide the page that they frame."""
    dots = [(x, y, x, y) for x in range(0, 2_000, 70) for y in range(0, 400, 70)]
    assert len(dots) > MAX_REGIONS
    found = picture_difference(picture(*dots, size=(2_000, 400)), picture(size=(2_000, 400)))
    assert len(found.regions) == 1


BOX = st.tuples(st.integers(0, 380), st.integers(0, 280), st.integers(1, 20), st.integers(1, 20))


@given(st.lists(BOX, max_size=6))
def test_every_changed_pixel_lies_in_a_region_and_no_region_is_empty(boxes):
    """Nothing that differs goes unmarked."""
    drawn = [(x, y, x + width - 1, y + height - 1) for x, y, width, height in boxes]
    found = picture_difference(picture(*drawn), picture())
    cover = picture(
        *[
            (one.x_px, one.y_px, one.x_px + one.width_px - 1, one.y_px + one.height_px - 1)
            for one in found.regions
        ]
    )
    left = picture_difference(picture(*drawn), cover)
    outside = [
        one
        for one in left.regions
        if cover.crop((one.x_px, one.y_px, one.x_px + 1, one.y_px + 1)).getpixel((0, 0)) != (0, 0, 0)
    ]
    assert bool(found.regions) == bool(boxes)
    assert outside == []


def test_text_is_compared_by_lines_with_their_signs():
    """Lines taken away and put in are counted, and their neighbours shown."""
    found = text_difference("a\nb\nc", "a\nB\nc")
    assert (found.added, found.removed) == (1, 1)
    assert "".join(found.lines[0]) == "@@ -1,3 +1,3 @@"
    assert ("-", "b") in found.lines
    assert ("+", "B") in found.lines
    assert text_difference("--- x\n+++ y", "--- x\n+++ y").lines == ()


def test_a_text_without_end_is_compared_to_a_limit_and_says_so():
    """A hostile page must not keep the comparison busy for hours."""
    found = text_difference("same\n" * (MAX_LINES + 1), "")
    assert found.is_cut
    assert found.removed == MAX_LINES


def test_headers_are_compared_by_name_and_all_their_values():
    """Names ignore case (RFC 9110 section 5.1); a second value of a name counts."""
    before = [("Server", "a"), ("Set-Cookie", "1"), ("set-cookie", "2")]
    after = [("server", "a"), ("Set-Cookie", "1"), ("X-New", "<b>")]
    found = [(one.name, one.before, one.after) for one in header_changes(before, after)]
    assert found == [("set-cookie", "1, 2", "1"), ("x-new", "", "<b>")]


def test_two_captures_are_compared_in_all_their_parts(tmp_path):
    """Facts, text and each tile; what cannot be compared is named and not passed over."""
    put(tmp_path, 1, tiles=(picture(), picture((0, 0, 9, 9))))
    store = put(tmp_path, 2, text="one\nthree", kind="removed", tiles=(picture(), picture(), picture()))
    found = compare_captures(store, capture_id(1), capture_id(2), tmp_path)
    told = as_json(found)
    assert told["facts"] == [{"name": "outcome", "before": "captured", "after": "removed"}]
    assert told["text"]["lines"][-2:] == ["-two", "+three"]
    assert [one["regions"] for one in told["pictures"]] == [
        [],
        [{"x": 0, "y": 300, "width": 10, "height": 10}],
    ]
    assert [one.partition(":")[0] for one in told["not_compared"]] == ["headers", "picture at 600 px"]
    assert any("10 x 10 px at 0, 300" in line for line in in_words(found))


def test_a_file_that_was_exchanged_is_refused(tmp_path):
    """A comparison of something else than what was captured is none."""
    put(tmp_path, 1)
    store = put(tmp_path, 2)
    path = tmp_path / "captures" / capture_id(2) / "text.txt"
    path.chmod(0o600)
    path.write_bytes(b"forged!")
    with pytest.raises(DigestMismatch):
        compare_captures(store, capture_id(1), capture_id(2), tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n cut", b"GIF89a"], ids=["empty", "cut", "gif"])
def test_what_is_no_picture_is_named_and_the_rest_compared(tmp_path, data):
    """A broken screenshot does not hide the texts."""
    put(tmp_path, 1, tiles=(data,))
    store = put(tmp_path, 2, text="other")
    found = compare_captures(store, capture_id(1), capture_id(2), tmp_path)
    assert found.text is not None
    assert "expected a PNG" in "".join(found.left_out)


def test_the_page_runs_nothing_and_shows_hostile_text_as_text(tmp_path):
    """Markup of a captured page stays text; the policy allows our style and the pictures in the page only."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202e"
    put(tmp_path, 1)
    target = Target(url="https://a.test/", final_url="https://a.test/", http_status=200, title=evil[:-1])
    store = put(tmp_path, 2, text=evil, target=target)
    found = compare_captures(store, capture_id(1), capture_id(2), tmp_path)
    page = difference_html(found, made_at=datetime(2026, 11, 24, tzinfo=UTC))
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "script-src" not in policy[1]
    assert policy[1].startswith("default-src &#39;none&#39;; img-src data:;")
