"""JSON of records: one spelling for every value, and no input that breaks the reader."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.canonical import MAX_INTEGER, canonical_bytes, parse_canonical, read_strict
from manifests.codec import decode, encode
from manifests.errors import MalformedJson, MalformedRecord
from manifests.record import Outcome
from manifests.record_types import as_line
from tests.unit.manifests.records import record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300)
@given(VALUES)
def test_a_value_is_read_back_from_its_canonical_form(value):
    """Nothing is lost, and json from the standard library reads the same."""
    data = canonical_bytes(value)
    assert parse_canonical(data) == value == json.loads(data)
    assert canonical_bytes(parse_canonical(data)) == data


@settings(max_examples=300)
@given(VALUES, st.data())
def test_no_other_spelling_is_canonical(value, data):
    """Every change of one byte gives another value or is refused; never the same value twice."""
    good = canonical_bytes(value)
    at = data.draw(st.integers(0, len(good)))
    other = (
        good[:at] + data.draw(st.binary(min_size=1, max_size=2)) + good[at + data.draw(st.integers(0, 2)) :]
    )
    try:
        read = parse_canonical(other)
    except MalformedJson:
        return
    assert other == good or read != value or str(read) != str(value)


@settings(max_examples=500)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0019dDeE+-. \n', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    """The strict reader raises one kind of error only, and reads what the standard library reads alike."""
    try:
        value = read_strict(data)
    except MalformedJson:
        return
    assert value == json.loads(data)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_refused(data):
    """The record's reader raises one kind of error only."""
    try:
        decode(data)
    except MalformedRecord:
        return
    raise AssertionError("noise was read as a record")


@settings(max_examples=200)
@given(st.text(max_size=300), st.integers(0, 100), st.lists(st.text(max_size=50), max_size=5))
def test_a_page_cannot_keep_its_record_from_being_written(title, confidence, signals):
    """Whatever text a page shows, half characters among it, the record is written and read back."""
    outcome = Outcome(
        kind="captured",
        reason=as_line(title) or "none",
        signals=tuple(line for line in map(as_line, signals) if line),
        confidence_percent=confidence,
    )
    assert decode(encode(record(outcome=outcome))).outcome == outcome
