from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.outcome import OutcomeKind
from archiver.errors import UsageError
from archiver.reports.figures import COLOURS, bars, timeline
from archiver.reports.renderers import citation, render_report
from archiver.reports.report_model import FATES, Incident, Link, Report, Sight, fate_of, tally
from archiver.reports.report_source import Captures, incident_report, quarter_report
from archiver.reports.words import LANGUAGES, words_of
from archiver.summary import load_summary
from storage.folder import FolderStore
from tests.unit.archiver.cli.stored import capture_id, put

EN = words_of("en")
DIGEST = "ab" * 32


def sight(day: int, outcome: str = "captured", **more) -> Sight:
    facts = {"state": "sealed", "record_sha256": DIGEST, "title": "A title"}
    return Sight(
        f"2026010{day}t000000z-7f3k2m9qx4", f"2026-01-0{day}T10:00:00.000Z", outcome, **(facts | more)
    )


def link(*sights: Sight, url="https://site.example/a", **more) -> Link:
    return Link(url=url, sights=sights, **more)


def report_of(*links: Link, **more) -> Report:
    incident = Incident("KZ-2026-Q1-4.03", "4", "2026-01", "A title", "One.\nTwo.", links)
    return Report("KZ 2026-Q1", (incident,), {"4": "Censorship"}, "2026-04-01T00:00:00Z", **more)


def rendered(report: Report, tmp_path, name: str, language: str = "en") -> str:
    render_report(report, words_of(language), tmp_path / name)
    return (tmp_path / name).read_text("utf-8")


def test_every_outcome_has_a_fate_and_a_failure_of_ours_says_nothing():
    """A page is counted as gone only on its own word; what we failed at is unclear."""
    assert {fate_of(kind) for kind in get_args(OutcomeKind)} <= set(FATES)
    assert fate_of("failed") == fate_of("unclear") == fate_of("no such outcome") == "unclear"
    assert fate_of("overloaded") == "unreachable"


def test_a_link_is_what_its_newest_capture_saw_and_is_cited_by_the_first_that_shows_it():
    """A post that vanished is gone now, and its citation leads to the capture that holds it."""
    one = link(sight(1, "unreachable"), sight(2), sight(3, "removed"))
    assert (one.first_fate, one.fate) == ("unreachable", "gone")
    assert one.citable == sight(2)
    assert sight(2).capture_id in citation(one, EN)
    assert DIGEST in citation(one, EN)


@pytest.mark.parametrize(
    ("url", "fate", "words"),
    [("", "lost", "target of this link is lost"), ("https://a.example/", "not-captured", "not captured")],
)
def test_what_was_never_captured_is_said_and_not_invented(url, fate, words):
    """No capture, no citation of one."""
    one = Link(url=url, anchor="the words")
    assert one.fate == fate
    assert words in citation(one, EN)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*FATES])), max_size=40))
def test_tallies_lose_no_link(pairs):
    """Each link is counted once under each of its names."""
    outcome = {
        "present": "captured",
        "gone": "removed",
        "barred": "blocked",
        "unreachable": "unreachable",
        "unclear": "failed",
    }
    links = [
        (
            name,
            link(sight(1, outcome[fate]))
            if fate in outcome
            else Link(url="" if fate == "lost" else "https://x.example/"),
        )
        for name, fate in pairs
    ]
    counted = tally(links)
    assert sum(one.total for one in counted) == len(pairs)
    for one in counted:
        assert one.counts["gone"] == sum(1 for name, fate in pairs if (name, fate) == (one.name, "gone"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("ending", ["html", "md", "csv", "json"])
def test_every_form_tells_the_same_links(tmp_path, language, ending):
    """One model, many forms: each names the link, its digest and its capture."""
    text = rendered(report_of(link(sight(1), sight(2, "removed"))), tmp_path, f"r.{ending}", language)
    for wanted in ("https://site.example/a", DIGEST, sight(1).capture_id):
        assert wanted.replace("_", "\\_") in text or wanted in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pdf_prints_tables_figures_and_citations(tmp_path, language):
    """What a reader is handed on paper has the counts and the digest."""
    render_report(
        report_of(link(sight(1), sight(2, "removed")), Link(url="", anchor="x")),
        words_of(language),
        tmp_path / "r.pdf",
    )
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "r.pdf", "-"], capture_output=True, check=True, text=True
    ).stdout
    assert DIGEST in re.sub(r"\s", "", text)
    assert words_of(language)("report.citations") in text


def test_changes_are_counted_against_the_quarter_before(tmp_path):
    """Two links fewer present and one more gone read as -2 and +1."""
    before = report_of(
        link(sight(1)), link(sight(1), url="https://b.example/"), link(sight(1), url="https://c.example/")
    )
    now = report_of(
        link(sight(1)),
        link(sight(2, "removed")),
        previous=tuple(before.by_section()),
        previous_title="KZ 2025-Q4",
    )
    text = rendered(now, tmp_path, "r.md")
    assert "| 4. Censorship | -2 | +1 | -1 |" in text


HOSTILE = "<script>alert(1)</script>\"'&|`*_[x](javascript:1)"


@pytest.mark.parametrize("ending", ["html", "md"])
def test_what_a_page_says_is_never_markup(tmp_path, ending):
    """A title with a script, a table bar and a link is text in every form."""
    incident = Incident(
        "X-1",
        "4",
        "",
        HOSTILE,
        HOSTILE,
        (link(sight(1, signal=HOSTILE, title=HOSTILE), sight(2, "removed", signal=HOSTILE)),),
    )
    text = rendered(
        Report("X-1", (incident,), {"4": HOSTILE}, "2026-04-01T00:00:00Z"), tmp_path, f"r.{ending}"
    )
    assert not re.search(r"(?<!\\)<script", text)
    if ending == "md":
        assert not re.search(r"(?<!\\)\]\(javascript", text)
    else:
        assert "unsafe" not in text
        assert "default-src 'none'" in text or "default-src &#39;none&#39;" in text


def test_a_spreadsheet_computes_nothing_of_it(tmp_path):
    """A title that is a formula is guarded, and no cell is lost."""
    text = rendered(report_of(link(sight(1, title='=HYPERLINK("http://evil.example")'))), tmp_path, "r.csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 2
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in rows[1])


def test_another_ending_is_an_error(tmp_path):
    """There are five forms."""
    with pytest.raises(UsageError):
        render_report(report_of(), EN, tmp_path / "r.docx")


def test_figures_are_whole_xml_and_told_apart_without_colour():
    """Each fate has its own pattern; a screen reader hears each part; hostile labels stay text."""
    links = [
        link(sight(1, outcome), sight(2, "captured"), url=f"https://x.example/{outcome}")
        for outcome in ("removed", "blocked", "unreachable")
    ]
    for drawn in (timeline(links, HOSTILE, EN), bars(tally((HOSTILE, one) for one in links), HOSTILE, EN)):
        root = ET.fromstring(drawn)
        assert root.get("role") == "img"
        assert root.get("aria-label") == HOSTILE
        assert drawn.count("<pattern") >= 1
        assert all(
            one.find("{*}title") is not None
            for one in root.findall(".//{*}rect")
            if "url(#" in one.get("fill", "")
        )
    assert len({COLOURS[fate] for fate in ("present", "gone", "barred", "unreachable", "unclear")}) == 5
    assert timeline([Link(url="https://never.example/")], "t", EN) == ""


def test_posts_that_vanish_and_return_are_seen_in_the_timeline():
    """Present, gone, present again: three bars in a row, in that order."""
    drawn = ET.fromstring(timeline([link(sight(1), sight(3, "removed"), sight(5))], "t", EN))
    fills = [
        one.get("fill")
        for one in drawn.findall(".//{*}rect")
        if float(one.get("x", 0)) >= 300 and "url(#" in one.get("fill", "")
    ]
    assert fills[:3] == ["url(#present)", "url(#gone)", "url(#present)"]


def test_a_register_and_a_store_make_a_report(tmp_path):
    """Links of the register find their captures by URL, spelled as they may be; the others are told too."""
    put(tmp_path / "store", 1, url="https://a.test/")
    put(tmp_path / "store", 2, url="https://a.test/", kind="removed")
    store = FolderStore(tmp_path / "store")
    register = tmp_path / "r.csv"
    register.write_text(
        "incident_id,url,section,platforms\nKZ-1,HTTPS://A.test,4,Facebook; TikTok\nKZ-1,https://b.test/,4,\nKZ-2,,5,\n"
    )
    captures = Captures(store, [load_summary(store, capture_id(number)) for number in (1, 2)])
    made = quarter_report(register, captures)
    assert [one.fate for one in made.links] == ["gone", "not-captured", "lost"]
    assert [one.name for one in made.by_section()] == ["4", "5"]
    assert {one.name for one in made.by_platform()} == {"Facebook", "TikTok", "web"}
    assert made.links[0].sights[0].record_sha256
    alone = incident_report("KZ-1", captures, None)
    assert [len(one.sights) for one in alone.links] == [2]
    assert json.loads(rendered(alone, tmp_path, "r.json"))["all"]["gone"] == 1
