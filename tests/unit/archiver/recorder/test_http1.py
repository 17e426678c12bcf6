"""HTTP/1 connections are split as browsers read them, byte for byte."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest
import wire_lab as lab
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.recorder.decode import DecodeLimits
from archiver.capture.recorder.splitter import Origin

GET = b"GET /a?b=c HTTP/1.1\r\nHost: evidence.example\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OK = b"HTTP/1.1 200 OK\r\n"
END = (1, None)


def sized(length: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % length


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# What servers really send: name, what the server says (None: end), body kept, truncated, words in the notes.
RESPONSES = [
    ("sized", [sized(3) + b"abc"], b"abc", None, ""),
    ("sized, empty", [sized(0)], b"", None, ""),
    ("bare line feeds", [b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"], b"abc", None, ""),
    ("mixed line ends", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\nabc"], b"abc", None, ""),
    ("no reason", [b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("no code", [b"HTTP/1.1 OK\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("lower case", [b"http/1.1 200 ok\r\ncontent-length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("two blanks", [b"HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("no header at all", [b"HTTP/1.1 200 OK\r\n\r\nabc", None], b"abc", None, ""),
    (
        "junk before",
        [b"\r\n\r\n" + sized(3) + b"abc"],
        b"abc",
        None,
        r"left out before the status line: '\r\n\r\n'",
    ),
    ("folded field", [OK + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("line without colon", [OK + b"nonsense\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("blank before colon", [OK + b"Content-Length : 3\r\n\r\nabc"], b"abc", None, ""),
    ("latin-1 bytes", [OK + b"X: \xe9\xff\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("same length twice", [OK + b"Content-Length: 3\r\n" * 2 + b"\r\nabc"], b"abc", None, "more than once"),
    ("lengths in one field", [OK + b"Content-Length: 3, 3\r\n\r\nabc"], b"abc", None, "more than once"),
    (
        "lengths that differ",
        [OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcdef", None],
        b"abcdef",
        None,
        "no one number: '3, 4'",
    ),
    ("negative length", [OK + b"Content-Length: -3\r\n\r\nabc", None], b"abc", None, "no one number"),
    ("length with a plus", [OK + b"Content-Length: +3\r\n\r\nabc", None], b"abc", None, "no one number"),
    (
        "huge length",
        [OK + b"Content-Length: 9" + b"9" * 40 + b"\r\n\r\nabc", None],
        b"abc",
        None,
        "no one number",
    ),
    ("too short", [sized(9) + b"abc", None], b"abc", "disconnect", "3 of 9 bytes"),
    (
        "too long",
        [sized(3) + b"abcdef"],
        b"abc",
        None,
        "3 bytes came that belong to no message, beginning 'def'",
    ),
    ("until the end", [OK + b"\r\nabc", b"def", None], b"abcdef", None, ""),
    ("cut, not ended", [OK + b"\r\nabc"], b"abc", "disconnect", "which was cut"),
    ("head cut", [OK + b"Content-Le", None], b"", "disconnect", "response head is not whole"),
    ("204 with body", [b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc"], b"", None, "3 bytes came"),
    ("304 with length", [b"HTTP/1.1 304 Not\r\nContent-Length: 300\r\n\r\n"], b"", None, ""),
    ("205 with body", [b"HTTP/1.1 205 R\r\nContent-Length: 3\r\n\r\nabc"], b"abc", None, ""),
    ("205 without length", [b"HTTP/1.1 205 R\r\n\r\n"], b"", None, ""),
    ("HTTP/1.0", [b"HTTP/1.0 200 OK\r\n\r\nabc", None], b"abc", None, ""),
    (
        "HTTP/1.0 chunked",
        [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", None],
        b"3\r\nabc\r\n0\r\n\r\n",
        None,
        "ignored, as browsers do",
    ),
    ("no version", [b"HTTP 200 OK\r\n\r\nabc", None], b"abc", None, ""),
    ("no HTTP", [b"SSH-2.0-OpenSSH_9.2\r\n", None], b"SSH-2.0-OpenSSH_9.2\r\n", None, "no HTTP head"),
    ("no HTTP, short", [b"hi", None], b"hi", None, "no HTTP head"),
    ("HTTP/0.9", [b"<html>old</html>", None], b"<html>old</html>", None, "no HTTP head"),
    ("no HTTP, cut", [b"<html>old</html>"], b"<html>old</html>", "disconnect", "no HTTP head"),
]

# Chunked bodies: name, what follows the head, whether payload digest is kept and of what, truncated, note.
CHUNKS = [
    ("plain", b"3\r\nabc\r\n0\r\n\r\n", b"abc", None, ""),
    ("two", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", None, ""),
    ("extension", b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n", b"abc", None, ""),
    ("trailers", b"3\r\nabc\r\n0\r\nX: y\r\nZ: w\r\n\r\n", b"abc", None, ""),
    ("upper and lower hex", b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, None, ""),
    ("leading zeros", b"00000000000000000000003\r\nabc\r\n0000\r\n\r\n", b"abc", None, ""),
    ("blank after size", b"3 \t\r\nabc\r\n0 \r\n\r\n", b"abc", None, ""),
    ("bare line feeds", b"3\nabc\n0\n\n", b"abc", None, ""),
    ("no last chunk", b"3\r\nabc\r\n", b"abc", "disconnect", "last chunk did not arrive"),
    ("cut in a chunk", b"9\r\nabc", b"abc", "disconnect", "last chunk did not arrive"),
    ("cut in a size", b"3\r\nabc\r\n1", b"abc", "disconnect", "last chunk did not arrive"),
    ("cut in trailers", b"3\r\nabc\r\n0\r\nX: y\r\n", b"abc", "disconnect", "last chunk did not arrive"),
    ("no hex", b"3\r\nabc\r\nxyz\r\nmore", None, None, "no chunk size: 'xyz\\r\\n'"),
    ("negative", b"-3\r\nabc\r\n0\r\n\r\n", None, None, "no chunk size"),
    ("with 0x", b"0x3\r\nabc\r\n0\r\n\r\n", None, None, "no chunk size"),
    ("blank before size", b" 3\r\nabc\r\n0\r\n\r\n", None, None, "no chunk size"),
    ("too big a number", b"1" + b"0" * 16 + b"\r\nabc", None, None, "no chunk size"),
    ("empty size", b"\r\nabc\r\n0\r\n\r\n", None, None, "no chunk size"),
    ("longer than it says", b"3\r\nabcd\r\n0\r\n\r\n", None, None, "no line end after a chunk"),
    ("endless size line", b"3" + b";" * 20_000 + b"\r\nabc", None, None, "more than 16384 bytes"),
    ("endless trailers", b"0\r\n" + b"X: y\r\n" * 50_000, None, None, "trailers of more than"),
]


@pytest.mark.parametrize(
    ("said", "body", "truncated", "note"), [row[1:] for row in RESPONSES], ids=[r[0] for r in RESPONSES]
)
def test_response(
    tmp_path: Path, said: list[bytes | None], body: bytes, truncated: str | None, note: str
) -> None:
    """Each way in which servers answer is read as a browser reads it, head and body kept to the byte."""
    seen, decoded = lab.play(tmp_path, (0, GET), *[(1, part) for part in said])
    (one,) = seen
    assert (one.response_body, one.exchange.truncated) == (body, truncated)
    assert note in " ".join(one.exchange.notes)
    assert bool(note) == bool(one.exchange.notes)
    everything = b"".join(part or b"" for part in said)
    head = one.exchange.response_head or b""
    assert head + body in everything
    assert one.exchange.response_body.sha256 == hashlib.sha256(body).hexdigest()
    assert decoded.problems == []


@pytest.mark.parametrize(
    ("said", "payload", "truncated", "note"), [row[1:] for row in CHUNKS], ids=[r[0] for r in CHUNKS]
)
def test_chunked(
    tmp_path: Path, said: bytes, payload: bytes | None, truncated: str | None, note: str
) -> None:
    """A chunked body is kept as received; its payload digest is of the chunks, absent where they break."""
    pieces = [(1, said[at : at + 100_000]) for at in range(0, len(said), 100_000)]
    (one,), decoded = lab.play(tmp_path, (0, GET), (1, CHUNKED), *pieces, END)
    assert (one.response_body, one.exchange.truncated) == (said, truncated)
    assert note in " ".join(one.exchange.notes)
    expected = "" if payload is None else hashlib.sha256(payload).hexdigest()
    body = one.exchange.response_body
    assert (body.payload_sha256, body.chunked) == (expected, True)
    assert body.sha256 == hashlib.sha256(said).hexdigest()
    assert decoded.problems == []


@pytest.mark.parametrize(
    ("head", "status"),
    [(b"HTTP/1.1 404 Not", 404), (b"HTTP/1.1  451", 451), (b"http/1.0 200", 200), (b"HTTP/1.1 OK", None)],
)
def test_status(tmp_path: Path, head: bytes, status: int | None) -> None:
    """The status is the code on the status line, and none is made up where there is none."""
    (one,), _ = lab.play(tmp_path, (0, GET), (1, head + b"\r\nContent-Length: 0\r\n\r\n"))
    assert one.exchange.status == status


def test_transfer_encoding_beats_length(tmp_path: Path) -> None:
    """Where both framings are named the chunks count, and a note says so."""
    head = OK + b"Content-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, GET), (1, head + b"3\r\nabc\r\n0\r\n\r\n"))
    assert one.response_body == b"3\r\nabc\r\n0\r\n\r\n"
    assert "overruled" in one.exchange.notes[0]


def test_interim_responses(tmp_path: Path) -> None:
    """1xx heads are kept apart, in order and to the byte, and the final response follows."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, GET), (1, b"HTTP/1.1 100 Continue\r\n\r\n" + early + sized(1) + b"x"))
    assert one.exchange.interim_heads == [b"HTTP/1.1 100 Continue\r\n\r\n", early]
    assert (one.exchange.status, one.response_body) == (200, b"x")


def test_head_has_no_body(tmp_path: Path) -> None:
    """The length in an answer to HEAD is not waited for: the next answer begins at once."""
    seen, _ = lab.play(tmp_path, (0, HEAD), (1, sized(500)), (0, GET), (1, sized(1) + b"x"))
    assert [one.response_body for one in seen] == [b"", b"x"]


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_request_body(tmp_path: Path, body: bytes) -> None:
    """Request bodies are kept like response bodies, sized and chunked."""
    post = b"POST /form HTTP/1.1\r\nHost: evidence.example\r\n" + body
    seen, _ = lab.play(tmp_path, (0, post), (1, sized(1) + b"x"), (0, GET), (1, sized(1) + b"y"))
    one = seen[0]
    assert one.exchange.request_head + (one.request_body or b"") == post
    assert one.exchange.request_body.payload_sha256 == hashlib.sha256(b"hello").hexdigest()
    assert [two.response_body for two in seen] == [b"x", b"y"]
    assert seen[1].request_body is None


def test_answer_before_the_request_ended(tmp_path: Path) -> None:
    """An early answer belongs to the request that is still being sent; both are whole in the end."""
    post = b"POST / HTTP/1.1\r\nHost: evidence.example\r\nContent-Length: 10\r\n\r\n"
    script = [(0, post + b"hello"), (1, sized(3) + b"413"), (0, b"world"), (0, GET), (1, sized(1) + b"x")]
    seen, _ = lab.play(tmp_path, *script)
    assert [(one.request_body, one.response_body) for one in seen] == [(b"helloworld", b"413"), (None, b"x")]
    assert [one.exchange.notes for one in seen] == [[], []]


def test_upload_that_is_cut(tmp_path: Path) -> None:
    """A request whose body is cut keeps what was sent, with how much is missing."""
    post = b"POST / HTTP/1.1\r\nHost: evidence.example\r\nContent-Length: 10\r\n\r\nhello"
    (one,), _ = lab.play(tmp_path, (0, post), (1, sized(3) + b"413"))
    assert (one.request_body, one.response_body, one.exchange.truncated) == (b"hello", b"413", None)
    assert "5 of 10 bytes" in one.exchange.notes[0]


def test_chunked_upload_that_is_cut(tmp_path: Path) -> None:
    """A chunked request body keeps the last bytes too, though they are no whole line."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, post + b"3\r\nabc\r\n1"))
    assert one.request_body == b"3\r\nabc\r\n1"
    assert "the last chunk did not arrive" in one.exchange.notes[0]


def test_times_of_requests_in_a_row(tmp_path: Path) -> None:
    """A request begins when its first byte came, also in the piece that ends the one before it."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = [
        (0, post + b"1\r\na\r\n0"),
        (0, b"\r\n\r\n" + GET[:9]),
        (0, GET[9:] + GET),
        (1, sized(1) + b"x"),
    ]
    seen, _ = lab.play(tmp_path, *script)
    assert [(one.exchange.started_at_ns - lab.START_NS) // 1000 for one in seen] == [1, 2, 3]
    assert seen[0].exchange.response_at_ns == lab.START_NS + 4000


def test_pipelining(tmp_path: Path) -> None:
    """Requests sent ahead get their answers in order."""
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(4))
    answers = b"".join(sized(1) + b"%d" % number for number in range(3))
    seen, _ = lab.play(tmp_path, (0, requests), (1, answers))
    assert [one.exchange.url for one in seen] == [f"http://a/{number}" for number in range(4)]
    assert [one.response_body for one in seen] == [b"0", b"1", b"2", None]
    assert seen[3].exchange.response_head is None
    assert "no response arrived" in seen[3].exchange.notes[0]


def test_no_answer(tmp_path: Path) -> None:
    """A request without an answer is kept, with no response and no invented status."""
    (one,), _ = lab.play(tmp_path, (0, GET), END)
    assert (one.exchange.response_head, one.response_body, one.exchange.status) == (None, None, None)
    assert one.exchange.response_at_ns == 0


def test_request_that_is_cut(tmp_path: Path) -> None:
    """Half a request head is kept as it is, and what the server said to it is its answer."""
    script = [(0, GET[:20]), (1, b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")]
    (one,), _ = lab.play(tmp_path, *script)
    assert (one.exchange.request_head, one.exchange.status) == (GET[:20], 408)
    assert "request head is not whole" in one.exchange.notes[0]


def test_idle_timeout_message(tmp_path: Path) -> None:
    """What a server says on an idle connection is noted on the exchange before it and answers nothing."""
    late = b"HTTP/1.1 408 Request Timeout\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, GET), (1, sized(1) + b"x"), (1, late), END)
    assert one.response_body == b"x"
    assert one.exchange.notes[0].startswith(f"after the response, {len(late)} bytes came")


@pytest.mark.parametrize(
    ("request_head", "url"),
    [
        (b"GET /a HTTP/1.1\r\nHost: b.example:81\r\n\r\n", "http://b.example:81/a"),
        (b"GET http://c.example/a HTTP/1.1\r\nHost: b.example\r\n\r\n", "http://c.example/a"),
        (b"GET /a HTTP/1.0\r\n\r\n", "http://evidence.example/a"),
        (b"GET /\xd0\xb0?x=%20 HTTP/1.1\r\nHost: a\r\n\r\n", "http://a/\xd0\xb0?x=%20"),
        (b"GET //b.example/http://x HTTP/1.1\r\nHost: a\r\n\r\n", "http://a//b.example/http://x"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "http://a"),
        (b"GET /old\r\n\r\n", "http://evidence.example/old"),
        (b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", "b.example:443"),
    ],
)
def test_url(tmp_path: Path, request_head: bytes, url: str) -> None:
    """The URL is the one that was asked for, never normalised."""
    (one,), _ = lab.play(tmp_path, (0, request_head), (1, sized(0)))
    assert one.exchange.url == url
    assert one.exchange.request_head == request_head


@pytest.mark.parametrize(
    ("host", "port", "tls", "url"),
    [
        ("a.example", 443, True, "https://a.example/x"),
        ("a.example", 80, True, "https://a.example:80/x"),
        ("a.example", 80, False, "http://a.example/x"),
        ("a.example", 443, False, "http://a.example:443/x"),
        ("2001:db8::7", 8080, False, "http://[2001:db8::7]:8080/x"),
    ],
)
def test_url_without_a_host_field(tmp_path: Path, host: str, port: int, tls: bool, url: str) -> None:
    """Without a Host field the connection's own host and port stand in the URL."""
    origin = Origin(1, host, port, "198.51.100.7", port, tls, tmp_path)
    assert origin.url("", "/x") == url


UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FROM_CLIENT = b"\x81\x85abcd" + b"hello" + b"\x89\x80abcd"
FROM_SERVER = b"\x82\x7e\x01\x00" + bytes(256) + b"\x8a\x00"


def test_websocket(tmp_path: Path) -> None:
    """A WebSocket is one exchange whose bodies are the frames as they were on the wire."""
    script = [(0, UPGRADE), (1, SWITCH + FROM_SERVER), (0, FROM_CLIENT), (1, b"\x88\x02\x03\xe8"), END]
    (one,), _ = lab.play(tmp_path, *script)
    assert (one.exchange.url, one.exchange.protocol) == ("ws://evidence.example/a?b=c", "websocket")
    assert (one.request_body, one.response_body) == (FROM_CLIENT, FROM_SERVER + b"\x88\x02\x03\xe8")
    assert one.exchange.truncated is None
    assert "client: 1 text, 1 ping; server: 1 binary, 1 pong, 1 close" in one.exchange.notes[0]


def test_websocket_that_is_cut(tmp_path: Path) -> None:
    """A WebSocket without a close frame from the server is marked as cut."""
    (one,), _ = lab.play(tmp_path, (0, UPGRADE), (1, SWITCH + FROM_SERVER), END)
    assert one.exchange.truncated == "disconnect"


def test_upgrade_that_is_refused(tmp_path: Path) -> None:
    """After a refused upgrade the connection goes on as HTTP."""
    seen, _ = lab.play(tmp_path, (0, UPGRADE), (0, GET), (1, sized(2) + b"no"), (1, sized(3) + b"yes"))
    assert [one.response_body for one in seen] == [b"no", b"yes"]


def test_upgrade_that_nobody_asked_for(tmp_path: Path) -> None:
    """A 101 that answers no upgrade is a response that lasts as long as the connection."""
    (one, two), _ = lab.play(tmp_path, (0, GET), (0, GET), (1, SWITCH + FROM_SERVER), END)
    assert (one.exchange.status, one.response_body, one.request_body) == (101, FROM_SERVER, None)
    assert two.exchange.response_head is None


def test_connect(tmp_path: Path) -> None:
    """What follows a CONNECT that was granted is kept raw, both ways."""
    connect = b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, connect), (1, OK + b"\r\n"), (0, b"\x16up"), (1, b"\x16down"), END)
    assert (one.request_body, one.response_body, one.exchange.truncated) == (b"\x16up", b"\x16down", None)


def test_event_stream_is_unfinished(tmp_path: Path) -> None:
    """An event stream that the page left open is kept up to its end and marked."""
    head = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    (one,), _ = lab.play(tmp_path, (0, GET), (1, head + b"9\r\ndata: 1\n\n\r\n"))
    assert (one.exchange.truncated, one.response_body) == ("disconnect", b"9\r\ndata: 1\n\n\r\n")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([(0, GET), (1, OK + b"X: " + b"x" * 300)], "a response head of more than 200 bytes"),
        ([(0, GET), (1, b"HTTP/1.1 100 C\r\n\r\n" * 15)], "a response head of more than 200 bytes"),
        ([(0, b"GET / HTTP/1.1\r\nX: " + b"x" * 300)], "a request head of more than 200 bytes"),
        ([(0, GET * 6)], "more than 5 requests without an answer"),
        ([(0, UPGRADE), (0, b"x" * 5000)], "more than 4096 bytes wait"),
        ([(0, GET[:9]), (1, b"x" * 5000)], "more than 4096 bytes wait"),
    ],
)
def test_limits(tmp_path: Path, script, words: str) -> None:
    """A limit ends the splitting of the connection with a reason; what was under way is kept and marked."""
    limits = DecodeLimits(max_head_bytes=200, max_waiting_bytes=4096, max_queued_requests=5)
    seen, decoded = lab.play(tmp_path, *script, limits=limits)
    assert words in (decoded.connections[0].error or "")
    assert decoded.problems[0].startswith("connection 1 (evidence.example): ")
    assert words in " ".join(note for one in seen for note in one.exchange.notes)


def test_interim_flood(tmp_path: Path) -> None:
    """A server that never stops saying 1xx is given up."""
    _, decoded = lab.play(tmp_path, (0, GET), (1, b"HTTP/1.1 100 C\r\n\r\n" * 5000))
    assert "interim responses" in (decoded.connections[0].error or "")


CONVERSATION = [
    (0, GET),
    (1, b"HTTP/1.1 103 Early\r\n\r\n" + CHUNKED + b"5;x\r\nhello\r\n0\r\nT: v\r\n\r\nstray"),
    (0, b"\r\nPOST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    (1, b"\n" + sized(4) + b"four"),
    (0, HEAD + GET),
    (1, sized(99) + CHUNKED + b"3\r\nabc\r\nbroken\r\nrest"),
    (1, None),
]
SOCKET = [(0, UPGRADE), (1, SWITCH + FROM_SERVER), (0, FROM_CLIENT), (1, b"\x88\x00"), (1, None)]


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 60),
    script=st.sampled_from([CONVERSATION, SOCKET]),
)
def test_any_chunking_gives_the_same(tmp_path: Path, seed, size: int, script) -> None:
    """How the network cut the bytes into pieces changes nothing in the exchanges."""
    rng = random.Random(seed)
    frames = lab.frame(1, lab.Kind.OPENED, 0, lab.opened())
    for at, (direction, data) in enumerate(script):
        if data is None:
            frames += lab.frame(1, lab.EOF[direction], at, b"")
        rest = data or b""
        while rest:
            step = rng.randint(1, size)
            frames += lab.frame(1, lab.DATA[direction], at, rest[:step])
            rest = rest[step:]
    again, _ = lab.decode_bytes(tmp_path, frames)
    whole = lab.frame(1, lab.Kind.OPENED, 0, lab.opened())
    for at, (direction, data) in enumerate(script):
        kind = lab.EOF[direction] if data is None else lab.DATA[direction]
        whole += lab.frame(1, kind, at, data or b"")
    once, _ = lab.decode_bytes(tmp_path, whole)
    assert [one.key() for one in again] == [one.key() for one in once]


@settings(max_examples=300)
@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [
                        GET,
                        HEAD,
                        UPGRADE,
                        SWITCH,
                        CHUNKED,
                        sized(5),
                        OK,
                        b"\r\n",
                        b"\n\n",
                        b"5\r\nhello\r\n",
                        b"0\r\n\r\n",
                    ]
                ),
            ),
        ),
        max_size=12,
    )
)
def test_any_bytes_are_kept(tmp_path: Path, pieces) -> None:
    """Whatever the two sides say nothing is raised, and no body holds a byte that was not sent."""
    seen, decoded = lab.play(tmp_path, *[(way, data) for way, data in pieces if data])
    assert len(decoded.connections) == 1
    sent, received = (b"".join(data for way, data in pieces if way == side) for side in (0, 1))
    for one in seen:
        assert one.exchange.request_head in sent
        assert (one.request_body or b"") in sent
        assert (one.exchange.response_head or b"") in received
        assert (one.response_body or b"") in received


def test_large_body_in_flat_memory(tmp_path: Path) -> None:
    """A body of 24 MB is decoded without holding more than the spool's limit of it."""
    piece = bytes(range(256)) * 1000
    count = 24_000_000 // len(piece)
    path = tmp_path / "wire.bin"
    with path.open("wb") as stream:
        stream.write(lab.HEADER + lab.frame(1, lab.Kind.OPENED, 0, lab.opened()))
        stream.write(
            lab.frame(1, lab.Kind.CLIENT_DATA, 1, GET)
            + lab.frame(1, lab.Kind.SERVER_DATA, 2, sized(count * len(piece)))
        )
        for at in range(count):
            stream.write(lab.frame(1, lab.Kind.SERVER_DATA, 3 + at, piece))
    sizes = []

    def sink(exchange) -> None:
        sizes.append(exchange.response_body.size_bytes)
        exchange.response_body.file.close()

    tracemalloc.start()
    lab.decode(path, tmp_path / "keys.log", sink, DecodeLimits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [count * len(piece)]
    assert peak < 6_000_000
    assert {entry.name for entry in tmp_path.iterdir()} == {"wire.bin"}
