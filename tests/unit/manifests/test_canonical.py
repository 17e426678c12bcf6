import pytest

from manifests.canonical import MAX_JSON_BYTES, canonical_bytes, parse_canonical, read_strict
from manifests.errors import MalformedJson
from manifests.findings import Code

DEEP = b"[" * 65 + b"]" * 65


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1,"a":1}', Code.RECORD_DUPLICATE_KEY),
        (b'{"b":{"a":1,"\\u0061":2}}', Code.RECORD_DUPLICATE_KEY),
        (b"1.0", Code.RECORD_NUMBER_NOT_EXACT),
        (b"1e2", Code.RECORD_NUMBER_NOT_EXACT),
        (b"-0.0", Code.RECORD_NUMBER_NOT_EXACT),
        (b"NaN", Code.RECORD_NUMBER_NOT_EXACT),
        (b"[Infinity]", Code.RECORD_NUMBER_NOT_EXACT),
        (b"-Infinity", Code.RECORD_NUMBER_NOT_EXACT),
        (b"9007199254740992", Code.RECORD_NUMBER_NOT_EXACT),
        (b"-9007199254740992", Code.RECORD_NUMBER_NOT_EXACT),
        (b"1" * 10_000, Code.RECORD_NUMBER_NOT_EXACT),
        (DEEP, Code.RECORD_TOO_DEEP),
        (b"[" * 200_000, Code.RECORD_TOO_DEEP),
        (b'{"a":' * 200_000, Code.RECORD_TOO_DEEP),
        (b" " * (MAX_JSON_BYTES + 1), Code.RECORD_TOO_LARGE),
        (b'"\\ud800"', Code.RECORD_LONE_SURROGATE),
        (b'{"\\udfff":1}', Code.RECORD_LONE_SURROGATE),
        (b'"\\udc00\\ud800"', Code.RECORD_LONE_SURROGATE),
        (b"\xef\xbb\xbf{}", Code.RECORD_BYTE_ORDER_MARK),
        (b"\xff\xfe{\x00}\x00", Code.RECORD_NOT_JSON),
        (b"{\x00}\x00", Code.RECORD_NOT_JSON),
        (b'"\xff"', Code.RECORD_NOT_JSON),
        (b'"\xed\xa0\x80"', Code.RECORD_NOT_JSON),
        (b"", Code.RECORD_NOT_JSON),
        (b"{", Code.RECORD_NOT_JSON),
        (b"{} {}", Code.RECORD_NOT_JSON),
        (b"{'a':1}", Code.RECORD_NOT_JSON),
        (b"[1,]", Code.RECORD_NOT_JSON),
        (b"01", Code.RECORD_NOT_JSON),
        (b'"a\nb"', Code.RECORD_NOT_JSON),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else value.code,
)
def test_json_that_readers_read_differently_is_refused(data, code):
    """What another reader could take for something else, or choke on, is refused for what it is."""
    with pytest.raises(MalformedJson) as caught:
        read_strict(data)
    assert caught.value.kind is code
    assert caught.value.code == code.number


@pytest.mark.parametrize(
    "data",
    [
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"\xee\x80\x80":2,"\xf0\x90\x80\x80":1}',
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u000A"',
        b"-0",
    ],
)
def test_json_in_another_form_is_not_canonical(data):
    """Blanks, order, escapes: every other way to write the same value is refused."""
    read_strict(data)
    with pytest.raises(MalformedJson) as caught:
        parse_canonical(data)
    assert caught.value.kind is Code.RECORD_NOT_CANONICAL


def test_canonical_json_is_read_back():
    """Keys in UTF-16 order, no escapes but the needed, integers to the limit."""
    value = {"\ue000": [2**53 - 1, 1 - 2**53, None, True, '\x1f"\\/Ә🙂'], "\U00010000": 1, "a": {}}
    data = canonical_bytes(value)
    assert data == (
        b'{"a":{},"\xf0\x90\x80\x80":1,"\xee\x80\x80":[9007199254740991,-9007199254740991,null,true,'
        b'"\\u001f\\"\\\\/\xd3\x98\xf0\x9f\x99\x82"]}'
    )
    assert parse_canonical(data) == value


def test_sixty_four_levels_are_read_and_one_more_is_not():
    """The limit of depth is where it is said to be."""
    assert read_strict(b"[" * 64 + b"]" * 64) is not None
    with pytest.raises(MalformedJson):
        read_strict(DEEP)


@pytest.mark.parametrize("value", [1.5, float("nan"), {1: 2}, b"x", {"a": {1, 2}}, 2**53, "\ud800", object()])
def test_values_that_canonical_json_cannot_hold_are_not_written(value):
    """Floats, bytes, sets, odd keys, large integers and half characters are refused, not converted."""
    with pytest.raises(MalformedJson):
        canonical_bytes(value)


def test_a_list_within_itself_is_not_written():
    """A value without end is refused, not walked for ever."""
    value = []
    value.append(value)
    with pytest.raises(MalformedJson) as caught:
        canonical_bytes(value)
    assert caught.value.kind is Code.RECORD_TOO_DEEP
