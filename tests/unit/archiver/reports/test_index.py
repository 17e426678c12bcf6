from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.reports.index import IndexNotWritten, index_html, render_index
from archiver.summary import CaptureSummary

MADE_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ALMATY = timezone(timedelta(hours=5))
DIGEST = "ab" * 32


def artifact(path: str, role: str, media_type: str) -> dict[str, object]:
    return {"path": path, "role": role, "media_type": media_type, "bytes": 2048, "sha256": DIGEST}


CAPTURE = CaptureSummary(
    capture_id="20261124t081203z-7f3k2m9qx4",
    incident_ids=("KZ-2026-Q1-4.03",),
    url="https://news.example/статья",
    final_url="https://news.example/статья?from=1",
    title="Заголовок",
    outcome="captured",
    outcome_reason="the page was received and shown",
    state="unsealed",
    completeness="complete",
    started_at="2026-11-24T08:12:03.120Z",
    finished_at="2026-11-24T08:12:09.000Z",
    bytes=4096,
    seconds=5.9,
    artifacts=(
        artifact("screenshot-viewport.png", "screenshot-viewport", "image/png"),
        artifact("screenshot-full.png", "screenshot-full", "image/png"),
        artifact("dom.html", "dom", "text/html"),
        artifact("page.mhtml", "mhtml", "multipart/related"),
        artifact("text.txt", "text", "text/plain"),
    ),
)


class Page(html.parser.HTMLParser):
    """The tags of a page, as a parser that is not ours sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(*captures: CaptureSummary, link_base: str = "archive") -> Page:
    return Page(index_html(captures, link_base, made_at=MADE_AT, zone=ALMATY))


def test_shows_what_a_reader_needs_of_a_capture():
    """Outcome, both times, state, whole digest, both addresses and the incident stand on the page."""
    text = page_of(CAPTURE).text
    for expected in (
        "KZ-2026-Q1-4.03",
        "2026-11-24 08:12:03 UTC",
        "2026-11-24 13:12:03+05:00 local",
        "unsealed; complete",
        "captured the page was received and shown",
        DIGEST,
        "https://news.example/статья ",
        "https://news.example/статья?from=1",
    ):
        assert expected in text


def test_links_lead_to_the_files_in_the_store():
    """Pictures and plain files are linked below the link base, each capture in its own folder."""
    page = page_of(CAPTURE)
    base = "archive/captures/20261124t081203z-7f3k2m9qx4"
    assert [image["src"] for image in page.all("img")] == [f"{base}/screenshot-viewport.png"]
    assert {f"{base}/screenshot-full.png", f"{base}/text.txt"} <= {link["href"] for link in page.all("a")}


@pytest.mark.parametrize("name", ["dom.html", "page.mhtml"])
def test_captured_pages_are_not_linked(name: str):
    """A captured page's own scripts would run on a click, so it is named and not linked."""
    page = page_of(CAPTURE)
    assert name in page.text
    assert not [link for link in page.all("a") if name in link["href"]]


@pytest.mark.parametrize(
    "media_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", ""]
)
def test_a_file_that_could_run_is_never_linked(media_type: str):
    """Only media types known to be harmless become links, whatever the role and name say."""
    hostile = replace(CAPTURE, artifacts=(artifact("a.png", "screenshot-full", media_type),))
    assert not [link for link in page_of(hostile).all("a") if link["href"].endswith("a.png")]


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b.txt",
        "http://evil.example/a.txt",
        "javascript:1",
        "",
        ".x",
        "a//b",
    ],
)
def test_a_path_that_leads_elsewhere_is_never_linked(path: str):
    """A record with a path outside its capture gets no link at all."""
    hostile = replace(CAPTURE, artifacts=(artifact(path, "text", "text/plain"),))
    assert all(link["href"].startswith("#incident-") for link in page_of(hostile).all("a"))


def test_no_captured_address_becomes_a_link():
    """A click must not tell the watched server that somebody is looking."""
    page = page_of(CAPTURE)
    for _, attributes in page.tags:
        assert not [value for name, value in attributes.items() if name in {"href", "src"} and "://" in value]


def test_policy_forbids_scripts_and_names_exactly_the_style_of_the_page():
    """The page's policy lets nothing in but its own style and the store's pictures."""
    text = index_html([CAPTURE], "archive", made_at=MADE_AT)
    policy = Page(text).all("meta")[1]["content"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src 'self' file:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script" not in policy


def test_pictures_of_a_store_on_the_web_come_from_that_origin_alone():
    """With an http link base the policy names its origin and no other."""
    policy = page_of(CAPTURE, link_base="https://store.example/bucket").all("meta")[1]["content"]
    assert "img-src https://store.example;" in policy


@given(
    st.text(max_size=300),
    st.text(max_size=300),
    st.text(max_size=40),
    st.lists(st.text(max_size=40), max_size=3),
)
def test_no_text_of_a_page_becomes_markup(title: str, url: str, path: str, incidents: list[str]):
    """Whatever title, address, path and incident hold, the page has the tags of our template and no more."""
    hostile = replace(
        CAPTURE,
        title=title + "<script>alert(1)</script>",
        url=url + '"><img src=x onerror=alert(1)>',
        outcome=title,
        state=url,
        incident_ids=tuple(incidents),
        started_at=title,
        artifacts=(artifact(path, title, "text/plain"),),
    )
    page = page_of(hostile)
    assert not page.all("script")
    assert not page.all("img")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("mark", ["\u202e", "\u200b", "\u2066", "\x00", "\x1b", "\ufeff"])
def test_marks_that_hide_or_reorder_text_are_shown_as_codes(mark: str):
    """A title cannot turn the line around or hide letters in it."""
    text = page_of(replace(CAPTURE, title=f"safe{mark}txt.exe")).text
    assert mark not in text
    assert f"safe\\u{ord(mark):04x}txt.exe" in text


def test_incidents_stand_in_the_order_a_reader_counts():
    """4.9 comes before 4.10, and a capture of two incidents stands under each."""
    both = replace(CAPTURE, incident_ids=("X-4.10", "X-4.9"))
    text = page_of(both).text
    assert re.findall(r"X-4\.\d+ \(1\)", text) == ["X-4.9 (1)", "X-4.10 (1)"]
    assert text.count("Заголовок") == 2


def test_a_capture_without_incident_or_picture_has_its_place():
    """Nothing is left off the page for want of an incident or a screenshot."""
    text = page_of(replace(CAPTURE, incident_ids=(), artifacts=())).text
    assert "without incident (1)" in text
    assert "No picture was taken." in text


def test_an_empty_store_gives_a_page_that_says_so():
    """No capture is not an error."""
    assert "No captures." in page_of().text


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01T00:00:00Z", "9" * 500])
def test_a_time_that_is_none_is_shown_as_it_is(time: str):
    """A record with a broken time still has its place on the page."""
    assert CAPTURE.capture_id in page_of(replace(CAPTURE, started_at=time, finished_at=time)).text


def test_every_picture_says_what_it_is_and_headings_go_down_one_by_one():
    """A screen reader gets alternative texts, a caption for each table, and no gap in the headings."""
    page = page_of(CAPTURE, replace(CAPTURE, incident_ids=("A",)))
    assert all(image["alt"].startswith("Screenshot of https://") for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_page_replaces_an_older_one(tmp_path):
    """Writing twice leaves the newer page and no part file."""
    out = tmp_path / "index.html"
    render_index([], out, ".")
    render_index([CAPTURE], out, ".")
    assert "Заголовок" in out.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_that_is_not_there_is_an_error_with_a_hint(tmp_path):
    """The operating system's refusal comes as our error, with its code and one thing to do."""
    with pytest.raises(IndexNotWritten, match=r"index index\.html: not written: .* \[E290\]") as caught:
        render_index([], tmp_path / "missing" / "index.html", ".")
    assert caught.value.hint


def page(*captures: CaptureSummary) -> str:
    return index_html(captures, "archive", made_at=MADE_AT, zone=ALMATY)


def seen(url: str, day: int, outcome: str, vantage: str = "") -> CaptureSummary:
    return replace(
        CAPTURE,
        capture_id=f"202611{day:02}t081203z-7f3k2m9qx4",
        url=url,
        outcome=outcome,
        vantage=vantage,
        started_at=f"2026-11-{day:02}T08:12:03.120Z",
    )


def test_posts_that_vanish_on_one_day_and_return_on_another_are_seen_at_a_glance():
    """One row a URL, a bar for each capture, in the order of the numbers in the addresses."""
    posts = [f"https://page.example/wall/{number}" for number in range(57)]
    days = [(3, "captured"), (9, "removed"), (20, "captured")]
    text = page(*[seen(url, day, outcome) for url in posts for day, outcome in days])
    drawing = text[text.index("<svg") : text.index("</svg>")]
    assert drawing.count('fill="url(#gone)"') == 57 + 1  # and the legend
    assert drawing.count('fill="url(#present)"') == 2 * 57 + 1
    assert drawing.index("wall/9<") < drawing.index("wall/10<")


def test_a_timeline_is_drawn_only_where_something_was_seen_twice():
    """A row of single dots says nothing; a time that is none is left out and breaks nothing."""
    assert "<svg" not in page(seen("https://a.test/", 3, "captured"), seen("https://b.test/", 9, "removed"))
    broken = replace(seen("https://a.test/", 4, "captured"), started_at="yesterday")
    assert "<svg" not in page(seen("https://a.test/", 3, "captured"), broken)


def test_a_row_says_from_where_when_there_are_several_places_and_runs_nothing():
    """The same page from two places is two rows; a hostile address stays text."""
    evil = "https://a.test/<script>alert(1)</script>"
    text = page(*[seen(evil, day, "captured", place) for day in (3, 4) for place in ("kz", "de")])
    assert "(kz)" in text
    assert "(de)" in text
    assert "<script" not in text
