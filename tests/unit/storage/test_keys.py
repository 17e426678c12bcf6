"""The rules for keys, by properties; the contract suite holds each store to the examples."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from storage.errors import InvalidKey
from storage.keys import check_folder, check_key, check_prefix, is_key, shown

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
PIECES = st.sampled_from(
    ["a", "ж", ".", "..", "/", "\\", "x" * 199, "\0", "e\u0301", "é", "\ud800", "\ufffe"]
)
ANY = TEXT | st.lists(PIECES, max_size=8).map("".join)


@given(ANY)
@example("")
@example("a" * 1025)
def test_any_text_is_a_key_or_an_invalid_key(text):
    """No text whatever leads to another error, and a key passes unchanged."""
    if is_key(text):
        assert check_key(text) == text
        return
    with pytest.raises(InvalidKey) as caught:
        check_key(text)
    assert str(caught.value).isprintable()


@given(ANY)
@example("a/b" * 250)
def test_every_key_is_safe_as_a_path(key):
    """What passes is UTF-8, NFC, within the limits, and leads nowhere but down."""
    assume(is_key(key))
    assert len(key.encode()) <= 1024
    assert unicodedata.is_normalized("NFC", key)
    segments = key.split("/")
    assert all(1 <= len(segment.encode()) <= 200 for segment in segments)
    assert not {"", ".", ".."} & set(segments)
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in key)
    assert "\\" not in key
    assert not key.startswith(".")


@given(
    st.lists(st.sampled_from(["a", "b.c", "é", "..d", "x" * 200]), min_size=1, max_size=5),
    st.integers(0, 1100),
)
def test_every_beginning_of_a_key_is_a_prefix(segments, length):
    """A listing may be asked for any beginning of any key."""
    assume(not segments[0].startswith("."))
    key = "/".join(segments)
    assume(is_key(key))
    assert check_prefix(key[:length]) == key[:length]


@pytest.mark.parametrize(
    "prefix", ["/", ".", "..", "../", ".tmp", "a//", "a/../", "a\\", "x" * 201, "a\n", "\ud800"]
)
def test_what_no_key_begins_with_is_no_prefix(prefix):
    """A listing of what cannot be is refused."""
    with pytest.raises(InvalidKey):
        check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["a", "a/b", "/", "//", "a//", "../"])
def test_what_ends_in_no_slash_is_no_folder(prefix):
    """A folder is named with its final slash."""
    with pytest.raises(InvalidKey):
        check_folder(prefix)


@given(ANY)
def test_shown_text_is_fit_for_one_line(text):
    """Whatever a stranger chose as a name is printed on one line, without control characters, clipped."""
    assert shown(text).isprintable()
    assert len(shown(text)) <= 120 * 10 + 3
    assert shown(text)
