import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.formats.cdxj import IndexEntry, index_line, index_lines, url_key
from archiver.formats.fields import media_type, text_uri, wire_uri
from archiver.formats.methods import MAX_QUERY_CHARS, request_query


def entry(uri, **changes):
    facts = {
        "record_type": "response",
        "record_id": "<urn:uuid:0>",
        "uri": uri,
        "date": "2026-11-24T08:12:03.123456Z",
        "mime": "text/html",
        "status": 200,
        "payload_digest": "",
        "offset": 0,
        "length": 10,
        "sha256": "00",
    }
    return IndexEntry(**{**facts, **changes})


def post(head, data):
    body = Body(io.BytesIO(data), len(data), "", "")
    return Exchange(1, None, "", "POST", "http/1.1", head, body, None, None, 0, 0, 0, "", 0, tls=False)


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE"])
def test_no_other_method_has_the_key_of_the_page(method):
    """The answer to anything but a GET is never found when the page is looked up."""
    assert url_key(entry("http://a.test/")) != url_key(entry("http://a.test/", method=method))


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata"])
def test_what_replay_must_not_find_is_not_indexed(kind):
    """Requests, metadata and the file's own description have no index line."""
    assert index_lines([entry("http://a.test/", record_type=kind)], "x") == b""


@settings(max_examples=300)
@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_a_line_is_one_line_whatever_the_url(url, query, mime):
    """No URL, form value or media type can break out of its line or its field."""
    for uri in (wire_uri(f"http://{url}"), text_uri(url)):
        line = index_line(entry(uri, method="POST", request_query=query, mime=mime), "x.warc.gz")
        assert line.count(b"\n") == 1
        key, time, facts = line.split(b" ", 2)
        assert key
        assert time == b"20261124081203"
        assert json.loads(facts)["url" if uri else "filename"]


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"application/json", b"text/plain", b"a/b", b"\xff"]))
def test_any_posted_body_gives_a_bounded_query(data, kind):
    """A body of any bytes under any media type gives a short query and no error."""
    head = b"POST / HTTP/1.1\r\nContent-Type: " + kind + b"\r\n\r\n"
    assert len(request_query(post(head, data))) <= MAX_QUERY_CHARS


def test_deeply_nested_json_is_no_crash():
    """100,000 nested lists are given up on, not recursed into."""
    head = b"POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
    assert request_query(post(head, b"[" * 100_000)) == ""
    assert request_query(post(head, b"[" * 900 + b"]" * 900)) == ""


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=x\r\n\r\n", "text/html"),
        (b"HTTP/1.1 200 OK\ncontent-type:image/png\n\n", "image/png"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: a b\xff\r\n\r\n", "a%20b%C3%BF"),
        (b"HTTP/1.1 200 OK\r\nX-Content-Type: a/b\r\n\r\n", ""),
        (b"Content-Type: a/b", ""),
        (b"", ""),
    ],
)
def test_a_media_type_is_read_from_any_head(head, expected):
    """Case, bare line feeds and odd bytes are taken as they come; what is no header line is not."""
    assert media_type(head) == expected
