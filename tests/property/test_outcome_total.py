from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.outcome import Facts, judge
from archiver.capture.outcome_rules import MAX_SEARCHED_CHARS
from archiver.capture.page_reading import MAX_BLOCKS, MAX_MARKS, read_page
from manifests.record_types import as_line

MIB = 1024 * 1024
WORDS = st.sampled_from(
    [
        *(
            "this post has been removed",
            "доступ к сайту ограничен",
            "бұл жазба жойылды",
            "log in to continue",
            "404",
        ),
        *(
            "<h1>",
            "</h1>",
            "<p>",
            "<div class=comment>",
            "<article>",
            "<time>",
            "«",
            "»",
            '"',
            "?",
            ".",
            " if ",
            "\n",
        ),
        *(
            "<form><input type=password>",
            "<!--",
            "]]>",
            "<svg>",
            "&#0;",
            "\ud800",
            "\x00",
            "қол жеткізу",
            "суд",
        ),
    ]
)
MARKUP = st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=400)
FACTS = st.builds(
    Facts,
    url=st.text(max_size=80) | st.just("https://t.me/s/x"),
    final_url=st.text(max_size=80) | st.just("https://[bad"),
    status=st.none() | st.integers(-1, 999),
    headers=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40)), max_size=3).map(tuple),
    title=st.text(max_size=60),
    text=MARKUP,
    markup=MARKUP,
    load_error=st.just("") | st.text(max_size=40),
    network_errors=st.lists(st.text(max_size=30), max_size=3).map(tuple),
    refused_by_guard=st.booleans(),
    crashed=st.just("") | st.text(max_size=20),
    is_document=st.booleans(),
    is_shown=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(FACTS)
def test_every_page_has_an_outcome_and_always_the_same(facts):
    """Whatever was observed is told, never raised, fits into a record, and is told the same again."""
    made = judge(facts)
    assert made == judge(facts)
    assert 0 <= made.confidence_percent <= 100
    assert as_line(made.reason)
    assert all(as_line(one.line()) for one in made.signals)


@settings(max_examples=150, deadline=None)
@given(MARKUP, MARKUP)
def test_reading_is_total_and_bounded(markup, text):
    """Any markup is read, and no more is kept of it than the limits say."""
    read = read_page(markup, text)
    assert len(read.blocks) <= 2 * MAX_BLOCKS + 1
    assert len(read.marks) <= MAX_MARKS + 5


HOSTILE = {
    "one-word": "а" * MIB,
    "one-sentence": "доступ к " + "ресурс по решению на основании закон " * 30_000,
    "near-misses": "access to the site restricted by this content was the page " * 20_000,
    "no-end-of-quotations": "«" * 300_000 + '"' * 300_000,
    "spaces": " \n" * (MIB // 2),
    "sentences": "Это. " * 200_000,
    "nested": "<div>" * 60_000 + "доступ ограничен",
    "blocks": "<p>бұл жазба " * 60_000,
    "attributes": f"<div class='{'comment-' * 60_000}'>x</div>" * 2,
    "posts": "<article><p>x" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_page_keeps_the_rules_busy(name):
    """A megabyte made to be slow costs the processor less than a hundred ordinary pages in the same run."""
    ordinary = "<p>Доступ к сайту ограничен по решению суда на основании закона о связи. " * (
        MAX_SEARCHED_CHARS // 70
    )
    hostile = HOSTILE[name]
    baseline = max(_cost(ordinary, ordinary), 0.002)
    assert _cost(hostile, hostile) < 100 * baseline


def _cost(markup: str, text: str) -> float:
    began = time.process_time()
    judge(Facts(url="https://a.test/x", final_url="https://a.test/x", status=200, markup=markup, text=text))
    return time.process_time() - began
