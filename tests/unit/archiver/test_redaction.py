from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.redaction import Secrets, redact, values_of_state

SECRET = "s3cret/Cookie+Value=42 &ж"


def body(data: bytes) -> Body:
    digest = hashlib.sha256(data).hexdigest()
    return Body(io.BytesIO(data), len(data), digest, digest)


def exchange(**parts) -> Exchange:
    return Exchange(
        **{
            "connection": 1,
            "stream": None,
            "url": "https://a.example/",
            "method": "GET",
            "protocol": "http/1.1",
            "request_head": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "request_body": None,
            "response_head": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
            "response_body": body(b"<p>page</p>"),
            "started_at_ns": 1,
            "response_at_ns": 2,
            "finished_at_ns": 3,
            "ip": "192.0.2.1",
            "port": 443,
            "tls": True,
        }
        | parts
    )


def secrets(*values: str) -> Secrets:
    made = Secrets()
    made.add(values)
    return made


WRITINGS = {
    "as it is": lambda v: v.encode(),
    "percent": lambda v: quote(v, safe="").encode(),
    "percent, lower case": lambda v: re.sub(
        "%[0-9A-F]{2}", lambda m: m[0].lower(), quote(v, safe="")
    ).encode(),
    "json": lambda v: json.dumps({"a": v}).encode(),
    "html": lambda v: html.escape(v).encode(),
    "hex": lambda v: v.encode().hex().encode(),
    **{f"base64 at {n}": lambda v, n=n: base64.b64encode(b"x" * n + v.encode() + b"tail") for n in range(6)},
    **{f"base64url at {n}": lambda v, n=n: base64.urlsafe_b64encode(b"x" * n + v.encode()) for n in range(3)},
}


@pytest.mark.parametrize("how", WRITINGS)
def test_a_secret_is_found_however_it_is_written(how):
    """What is left of the text holds no eight characters in a row of the secret in that writing."""
    written = WRITINGS[how](SECRET)
    scrubbed = secrets(SECRET).scrub(b"before " + written + b" after")
    assert len(scrubbed) == len(written) + 13
    assert scrubbed.startswith(b"before ")
    assert scrubbed.endswith(b" after")
    assert written[4:-6] not in scrubbed
    assert scrubbed.count(b"*") >= len(SECRET) - 4


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40), st.integers(0, 5)
)
def test_no_secret_survives_base64_at_any_offset(value, offset):
    """Decoding what is left gives no bytes that hold the secret."""
    known = secrets(value)
    if not known.values:
        return
    coded = base64.b64encode(b"p" * offset + value.encode() + b"s")
    left = known.scrub(coded).replace(b"*", b"A")
    assert value.encode() not in base64.b64decode(left + b"=" * (-len(left) % 4))


@pytest.mark.parametrize("value", ["ru", "dark", "default", "en-us", "12345", "plain words here"])
def test_plain_words_and_short_values_are_left_in_bodies(value):
    """A cookie that says what every page says is no secret to look for."""
    assert secrets(value).values == set()


@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: sid=abc",
        b"cookie: a=1; sid=abc",
        b"Authorization: Bearer abc",
        b"X-CSRF-Token: abc",
        b"x-session-echo: abc",
        b"Proxy-Authorization: Basic abc",
    ],
)
def test_header_fields_with_credentials_lose_their_value_however_short(line):
    """The name stays, the value goes, and its removal is told."""
    given = exchange(request_head=b"GET / HTTP/1.1\r\n" + line + b"\r\nAccept: */*\r\n\r\n")
    clear, removed = redact(given, Secrets())
    assert b"abc" not in clear.request_head
    assert line.partition(b":")[0] + b": [removed]\r\nAccept: */*\r\n\r\n" in clear.request_head
    assert len(removed) == 1


def test_bodies_of_requests_go_whole():
    """Whatever a form or a script sends is taken out, and its digest is told."""
    sent = body(b"pass=hunter2-and-more")
    clear, removed = redact(exchange(method="POST", request_body=sent), Secrets())
    assert clear.request_body is not None
    assert clear.request_body.size_bytes == 0
    assert [one.value for one in removed] == [sent.sha256]


@pytest.mark.parametrize("coding", [b"", b"gzip"])
def test_a_secret_in_a_body_is_blackened_under_its_content_coding(coding):
    """The stored body is plain, of the same length, without the secret, and its head says no coding."""
    page = f"<p>{SECRET}</p> and more".encode()
    data = gzip.compress(page) if coding else page
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    head += b"Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n" if coding else b"\r\n"
    clear, removed = redact(exchange(response_head=head, response_body=body(data)), secrets(SECRET))
    assert clear.response_body is not None
    left = clear.response_body.file.read()
    assert SECRET.encode() not in left
    assert len(left) == len(page)
    assert b"Content-Encoding" not in clear.response_head
    assert f"Content-Length: {len(page)}".encode() in clear.response_head
    assert len(removed) == 1


def test_a_body_without_secrets_stays_to_the_byte():
    """What needs no change gets none: coding, head and bytes are those of the wire."""
    data = gzip.compress(b"<p>page</p>")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    clear, removed = redact(exchange(response_head=head, response_body=body(data)), secrets(SECRET))
    assert (clear.response_head, clear.response_body.file.read(), removed) == (head, data, [])


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: new\r\n\r\n"],
)
def test_a_body_that_cannot_be_read_is_taken_out(head):
    """What cannot be looked into may hold anything."""
    clear, removed = redact(
        exchange(response_head=head, response_body=body(b"\xff\xfe broken")), secrets(SECRET)
    )
    assert clear.response_body.size_bytes == 0
    assert len(removed) == 1


def test_websocket_messages_are_taken_out():
    """They are masked by a key that stands beside them, which hides nothing."""
    given = exchange(
        protocol="websocket", request_body=body(b"\x81\x85abcd"), response_body=body(b"\x81\x05hello")
    )
    clear, removed = redact(given, Secrets())
    assert (clear.request_body.size_bytes, clear.response_body.size_bytes, len(removed)) == (0, 0, 2)


def test_parameters_named_like_secrets_are_blackened_in_addresses():
    """Also where the value is not known otherwise."""
    text = Secrets().text("https://a.example/x?session_id=abc123&page=2")
    assert text == "https://a.example/x?session_id=******&page=2"


def test_secrets_are_learnt_from_heads_forms_and_members():
    """Set-Cookie, hidden fields and JSON members that are named so are known afterwards."""
    known = Secrets()
    page = b'<input type="hidden" name="t" value="form-Value-1234"> {"access_token": "member-Value-99"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: sid=cookie-Value-77; Secure\r\n\r\n"
    known.learn(exchange(response_head=head, response_body=body(page)))
    assert {"form-Value-1234", "member-Value-99", "cookie-Value-77"} <= known.values


def test_every_text_of_a_stored_session_is_a_value():
    """Cookies, and texts at any depth of JSON in local storage."""
    kept = json.dumps({"x": [json.dumps({"jwt": "deep"})]})
    state = {
        "cookies": [{"name": "a", "value": "cookie"}],
        "origins": [{"localStorage": [{"name": "k", "value": kept}]}],
    }
    assert {"cookie", "deep"} <= set(values_of_state(state))
