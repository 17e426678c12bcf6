"""HTTP/2 connections are split into one exchange per stream, whatever either side does."""

from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.settings
import hpack
import pytest
import wire_lab as lab
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.recorder.decode import DecodeLimits
from archiver.capture.recorder.http2_frames import MAX_BLOCK_BYTES, PREFACE

CLIENT, SERVER = 0, 1
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, CONTINUATION = 0, 1, 2, 3, 4, 5, 6, 7, 9
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 1, 4, 8, 32


class Peers:
    """Two ends by the ``h2`` library, and what they said to each other."""

    def __init__(self) -> None:
        options = {"header_encoding": None, "validate_inbound_headers": False}
        options |= {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, **options))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, **options))
        self.script: list[tuple[int, bytes]] = []
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.carry()
        self.carry()

    def carry(self) -> None:
        for side, other, way in ((self.client, self.server, 0), (self.server, self.client, 1)):
            if data := side.data_to_send():
                self.script.append((way, data))
                other.receive_data(data)

    def get(self, stream: int, *fields: tuple[str, str], method: str = "GET", end: bool = True) -> None:
        pseudo = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", f"/{stream}"),
        ]
        self.client.send_headers(stream, [*pseudo, *fields], end_stream=end)
        self.carry()

    def answer(self, stream: int, body: bytes, *fields: tuple[str, str], status: str = "200") -> None:
        self.server.send_headers(stream, [(":status", status), *fields], end_stream=not body)
        for at in range(0, len(body), 9000):
            self.server.send_data(stream, body[at : at + 9000], end_stream=at + 9000 >= len(body))
        self.carry()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(*fields: tuple[bytes, bytes], encoder: hpack.Encoder | None = None) -> bytes:
    return (encoder or hpack.Encoder()).encode(list(fields))


def ask(*more: tuple[bytes, bytes], path: bytes = b"/x") -> bytes:
    return block((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path), *more)


ASK = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS | END_STREAM, 1, ask())
ANSWER = frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block((b":status", b"200"), (b"a", b"b")))


def test_exchange(tmp_path: Path) -> None:
    """A stream becomes an exchange with a written head in the documented form and its DATA as body."""
    peers = Peers()
    peers.get(1, ("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2"))
    peers.answer(1, b"hello", ("content-type", "text/plain"), ("set-cookie", "c=3"), ("set-cookie", "d=4"))
    (one,), decoded = lab.play(tmp_path, *peers.script)
    assert one.exchange.request_head == (
        b"GET /1 HTTP/1.1\r\nHost: a.example\r\naccept: */*\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n"
    )
    assert one.exchange.response_head == (
        b"HTTP/1.1 200 \r\ncontent-type: text/plain\r\nset-cookie: c=3\r\nset-cookie: d=4\r\n\r\n"
    )
    assert (one.exchange.url, one.exchange.protocol) == ("https://a.example/1", "h2")
    assert (one.exchange.stream, one.exchange.status, one.exchange.truncated) == (1, 200, None)
    assert (one.request_body, one.response_body, one.exchange.notes) == (None, b"hello", [])
    assert one.exchange.response_body.payload_sha256 == hashlib.sha256(b"hello").hexdigest()
    assert (decoded.connections[0].protocol, decoded.problems) == ("h2", [])


def test_many_streams_at_once(tmp_path: Path) -> None:
    """Streams that are interleaved frame by frame each get their own bytes."""
    peers = Peers()
    streams = range(1, 41, 2)
    for stream in streams:
        peers.get(stream)
    for stream in streams:
        peers.server.send_headers(stream, [(":status", "200")])
    for part in range(5):
        for stream in streams:
            peers.server.send_data(stream, b"%d-%d;" % (stream, part), end_stream=part == 4)
    peers.carry()
    seen, _ = lab.play(tmp_path, *peers.script)
    assert {one.exchange.stream: one.response_body for one in seen} == {
        stream: b"".join(b"%d-%d;" % (stream, part) for part in range(5)) for stream in streams
    }


def test_request_body_and_trailers(tmp_path: Path) -> None:
    """A request body is kept; trailers of both sides are noted."""
    peers = Peers()
    peers.get(1, method="POST", end=False)
    peers.client.send_data(1, b"field=value")
    peers.client.send_headers(1, [("x-sum", "abc")], end_stream=True)
    peers.carry()
    peers.server.send_headers(1, [(":status", "200")])
    peers.server.send_data(1, b"ok")
    peers.server.send_headers(1, [("grpc-status", "0")], end_stream=True)
    peers.carry()
    (one,), _ = lab.play(tmp_path, *peers.script)
    assert (one.request_body, one.response_body) == (b"field=value", b"ok")
    assert one.exchange.notes == ["request trailers: 'x-sum': 'abc'", "response trailers: 'grpc-status': '0'"]


def test_interim_responses(tmp_path: Path) -> None:
    """1xx header lists are kept apart, in order."""
    peers = Peers()
    peers.get(1)
    peers.server.send_headers(1, [(":status", "103"), ("link", "</a.css>")])
    peers.answer(1, b"x")
    (one,), _ = lab.play(tmp_path, *peers.script)
    assert one.exchange.interim_heads == [b"HTTP/1.1 103 \r\nlink: </a.css>\r\n\r\n"]
    assert (one.exchange.status, one.response_body) == (200, b"x")


@pytest.mark.parametrize("side", ["client", "server"])
def test_reset(tmp_path: Path, side: str) -> None:
    """A stream that either side resets keeps what came and says who reset it and how."""
    peers = Peers()
    peers.get(1)
    peers.server.send_headers(1, [(":status", "200")])
    peers.server.send_data(1, b"half")
    peers.carry()
    getattr(peers, side).reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    peers.carry()
    peers.get(3)
    peers.answer(3, b"whole")
    seen, _ = lab.play(tmp_path, *peers.script)
    seen.sort(key=lambda one: one.exchange.stream)
    assert [(one.response_body, one.exchange.truncated) for one in seen] == [
        (b"half", "disconnect"),
        (b"whole", None),
    ]
    assert seen[0].exchange.notes == [f"the response is not whole: the {side} reset the stream: CANCEL"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_crosses_the_reset_is_kept(tmp_path: Path, *, whole: bool) -> None:
    """What the server sent before it saw the client's reset reached the browser's socket, and is held."""
    peers = Peers()
    peers.get(1)
    peers.client.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    reset = peers.client.data_to_send()
    peers.server.send_headers(1, [(":status", "200")])
    peers.server.send_data(1, b"crossed", end_stream=whole)
    script = [*peers.script, (0, reset), (1, peers.server.data_to_send())]
    (one,), _ = lab.play(tmp_path, *script)
    assert (one.exchange.status, one.response_body) == (200, b"crossed")
    assert one.exchange.truncated == (None if whole else "disconnect")
    assert "the client reset the stream: CANCEL" in one.exchange.notes[0]


def test_streams_without_end_that_were_reset_are_bounded(tmp_path: Path) -> None:
    """A page that gives up request after request makes the splitter hold no more than its bound."""
    peers = Peers()
    for stream in range(1, 601, 2):
        peers.get(stream)
        peers.client.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        peers.carry()
    seen, _ = lab.play(tmp_path, *peers.script)
    assert [one.exchange.stream for one in seen] == list(range(1, 601, 2))


def test_reset_before_the_answer(tmp_path: Path) -> None:
    """A request that is reset unanswered is kept without a response."""
    peers = Peers()
    peers.get(1)
    peers.client.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    peers.carry()
    (one,), _ = lab.play(tmp_path, *peers.script)
    assert (one.exchange.response_head, one.response_body) == (None, None)
    assert "no response arrived: the client reset the stream" in one.exchange.notes[0]


def test_header_table_survives_dropped_streams(tmp_path: Path) -> None:
    """Header blocks of streams that are gone are decoded too: the fields of later ones depend on them."""
    encoder = hpack.Encoder()
    late = frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        block((b":status", b"200"), (b"x-long", b"v" * 50), encoder=encoder),
    )
    again = frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        block((b":status", b"200"), (b"x-long", b"v" * 50), encoder=encoder),
    )
    second = frame(HEADERS, END_HEADERS | END_STREAM, 3, ask())
    script = [(0, ASK), (0, frame(RST, 0, 1, struct.pack(">I", 8))), (1, late), (0, second), (1, again)]
    seen, decoded = lab.play(tmp_path, *script)
    assert seen[1].exchange.response_head == b"HTTP/1.1 200 \r\nx-long: " + b"v" * 50 + b"\r\n\r\n"
    assert decoded.problems == []


def test_large_header_table(tmp_path: Path) -> None:
    """A table of 64 KiB, which Chromium allows, is followed from the first block."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 65536
    fields = [(b"x-%d" % number, b"v" * 90) for number in range(400)]
    script = [(0, ASK)]
    for stream in (1, 3):
        if stream == 3:
            script.append((0, frame(HEADERS, END_HEADERS | END_STREAM, 3, ask())))
        encoded = block((b":status", b"200"), *fields, encoder=encoder)
        script.append((1, frame(HEADERS, END_HEADERS | END_STREAM, stream, encoded)))
    seen, decoded = lab.play(tmp_path, *script)
    assert decoded.problems == []
    assert seen[0].exchange.response_head == seen[1].exchange.response_head
    assert len(script[3][1]) < len(script[1][1]) / 10


def test_padding_priority_and_continuation(tmp_path: Path) -> None:
    """Padding and priority are taken off, and a block may go on over frames."""
    encoded = ask((b"x", b"y" * 300))
    first = b"\x03" + b"\x80\0\0\0\x10" + encoded[:50] + b"\0" * 3
    request = frame(HEADERS, PADDED | HAS_PRIORITY | END_STREAM, 1, first)
    request += frame(CONTINUATION, 0, 1, encoded[50:100]) + frame(CONTINUATION, END_HEADERS, 1, encoded[100:])
    data = frame(DATA, PADDED, 1, b"\x05hello" + bytes(5)) + frame(DATA, PADDED | END_STREAM, 1, b"\0!")
    (one,), _ = lab.play(tmp_path, (0, PREFACE + request), (1, ANSWER + data))
    assert one.exchange.request_head.endswith(b"\r\nx: " + b"y" * 300 + b"\r\n\r\n")
    assert one.response_body == b"hello!"


def test_push(tmp_path: Path) -> None:
    """A pushed response is kept with the request that the server made up, and says so."""
    promise = frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + ask(path=b"/pushed.css"))
    pushed = frame(HEADERS, END_HEADERS, 2, block((b":status", b"200"))) + frame(DATA, END_STREAM, 2, b"css")
    script = [(0, ASK), (1, ANSWER + promise + pushed + frame(DATA, END_STREAM, 1, b"x"))]
    seen, _ = lab.play(tmp_path, *script)
    assert [(one.exchange.url, one.response_body) for one in seen] == [
        ("https://a/pushed.css", b"css"),
        ("https://a/x", b"x"),
    ]
    assert "never sent this request" in seen[0].exchange.notes[0]


def test_goaway_and_unknown_frames(tmp_path: Path) -> None:
    """GOAWAY is noted on the connection, unanswered streams are kept, unknown frames pass."""
    goaway = frame(GOAWAY, 0, 0, struct.pack(">II", 1, 11) + b"slow down")
    noise = frame(200, 255, 77, b"unknown") + frame(PING, 0, 0, bytes(8)) + frame(PRIORITY, 0, 9, bytes(5))
    more = frame(HEADERS, END_HEADERS | END_STREAM, 3, ask())
    script = [(0, ASK + more), (1, noise + ANSWER + frame(DATA, END_STREAM, 1, b"x") + goaway)]
    seen, decoded = lab.play(tmp_path, *script)
    assert [one.response_body for one in seen] == [b"x", None]
    assert decoded.connections[0].notes == (
        "server said GOAWAY: ENHANCE_YOUR_CALM, last stream 1, 'slow down'",
    )


def test_websocket(tmp_path: Path) -> None:
    """An extended CONNECT for WebSocket is one exchange whose bodies are frames."""
    fields = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"a"),
    ]
    request = PREFACE + frame(HEADERS, END_HEADERS, 1, block(*fields, (b":path", b"/chat")))
    script = [(0, request), (1, ANSWER), (0, frame(DATA, 0, 1, b"\x81\x80abcd"))]
    script += [
        (1, frame(DATA, 0, 1, b"\x81\x02hi\x88\x00") + frame(DATA, END_STREAM, 1)),
        (0, frame(DATA, END_STREAM, 1)),
    ]
    (one,), _ = lab.play(tmp_path, *script)
    assert (one.exchange.url, one.exchange.protocol) == ("wss://a/chat", "websocket")
    assert (one.request_body, one.response_body) == (b"\x81\x80abcd", b"\x81\x02hi\x88\x00")
    assert one.exchange.truncated is None
    assert one.exchange.request_head.startswith(b"CONNECT /chat HTTP/1.1\r\nHost: a\r\n")


def test_unfinished_at_the_end(tmp_path: Path) -> None:
    """What is open when the connection ends is handed over, each as far as it got."""
    more = frame(HEADERS, END_HEADERS, 3, ask()) + frame(DATA, 0, 3, b"half a requ")
    (first, second), _ = lab.play(tmp_path, (0, ASK + more), (1, ANSWER + frame(DATA, 0, 1, b"half")))
    assert (first.response_body, first.exchange.truncated) == (b"half", "disconnect")
    assert (second.request_body, second.exchange.response_head) == (b"half a requ", None)
    assert "the request is not whole" in second.exchange.notes[1]


@pytest.mark.parametrize(
    ("fields", "body", "note"),
    [
        ([(b"content-length", b"9")], b"abc", "content-length says 9 bytes, 3 arrived"),
        ([(b"content-length", b"1")], b"abc", "content-length says 1 bytes, 3 arrived"),
        ([(b"content-length", b"3")], b"abc", ""),
        ([(b"content-length", b"x")], b"abc", ""),
    ],
)
def test_length_that_is_wrong(tmp_path: Path, fields, body: bytes, note: str) -> None:
    """A content-length that the DATA contradicts is noted; the bytes are kept."""
    head = frame(HEADERS, END_HEADERS, 1, block((b":status", b"200"), *fields))
    (one,), _ = lab.play(tmp_path, (0, ASK), (1, head + frame(DATA, END_STREAM, 1, body)))
    assert (one.response_body, "".join(one.exchange.notes)) == (body, note)


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"304"), (b"GET", b"204"), (b"HEAD", b"200")])
def test_length_of_what_is_not_sent(tmp_path: Path, method: bytes, status: bytes) -> None:
    """Where no body can come its length is no promise."""
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
    head = block((b":status", status), (b"content-length", b"9"))
    script = [(0, PREFACE + frame(HEADERS, 5, 1, block(*pseudo))), (1, frame(HEADERS, 5, 1, head))]
    (one,), _ = lab.play(tmp_path, *script)
    assert (one.response_body, one.exchange.notes) == (b"", [])


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nSet-Cookie: evil=1"),
        (b"x\r\ny", b"a"),
        (b"x", b"a\nb"),
        (b"x", b"a\0b"),
        (b"x: y", b"a"),
        (b"x y", b"a"),
    ],
)
def test_no_line_can_be_smuggled_in(tmp_path: Path, field) -> None:
    """Octets that would begin a line or a field of their own are escaped in the written head, and noted."""
    head = frame(HEADERS, END_HEADERS | END_STREAM, 1, block((b":status", b"200"), field))
    (one,), _ = lab.play(tmp_path, (0, ASK), (1, head))
    lines = (one.exchange.response_head or b"").split(b"\r\n")
    assert len(lines) == 4
    assert b"\n" not in lines[1]
    assert b"\0" not in lines[1]
    assert b"%" in lines[1]
    assert "octets that HTTP/2 forbids" in one.exchange.notes[0]


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (b"200 OK\r\nX: y", b"HTTP/1.1 200%20OK%0D%0AX:%20y \r\n\r\n"),
        (b"", b"HTTP/1.1  \r\n\r\n"),
        (b"9", b"HTTP/1.1 9 \r\n\r\n"),
    ],
)
def test_status_that_is_none(tmp_path: Path, status: bytes, head: bytes) -> None:
    """A :status that is not three digits is written as it is, safely."""
    (one,), _ = lab.play(tmp_path, (0, ASK), (1, frame(HEADERS, 5, 1, block((b":status", status)))))
    assert one.exchange.response_head == head


def bomb() -> bytes:
    encoder = hpack.Encoder()
    first = encoder.encode([(b"x", b"v" * 4000)])
    return first + b"\xbe" * 5000


FAULTS = {
    "no preface": ([(0, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")], None),
    "frame too long": ([(0, ASK), (1, b"\xff\xff\xff\0\0\0\0\0\1")], "a frame of 16777215 bytes"),
    "padding too long": ([(0, ASK), (1, frame(DATA, PADDED, 1, b"\x09abc"))], "more padding than payload"),
    "padding of everything": (
        [(0, ASK), (1, frame(DATA, PADDED, 1, b"\x04abc"))],
        "more padding than payload",
    ),
    "padding of nothing": ([(0, ASK), (1, frame(DATA, PADDED, 1))], "more padding than payload"),
    "continuation alone": ([(0, ASK), (1, frame(CONTINUATION, 4, 1))], "without a header block"),
    "data in a block": ([(0, ASK), (1, frame(HEADERS, 0, 1) + frame(DATA, 0, 1))], "inside a header block"),
    "another stream in a block": (
        [(0, ASK), (1, frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 3))],
        "inside a header",
    ),
    "broken block": (
        [(0, ASK), (1, frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff"))],
        "does not decode",
    ),
    "index out of range": ([(0, ASK), (1, frame(HEADERS, 4, 1, b"\xfe"))], "does not decode"),
    "table too large": ([(0, ASK), (1, frame(HEADERS, 4, 1, b"\x3f\xff\xff\xff\x7f"))], "does not decode"),
    "huffman nonsense": (
        [(0, ASK), (1, frame(HEADERS, 4, 1, b"\0\x84\xff\xff\xff\xff\0"))],
        "does not decode",
    ),
    "header bomb": ([(0, ASK), (1, frame(HEADERS, 4, 1, bomb()))], "does not decode"),
    "stream twice": ([(0, ASK), (1, frame(PUSH, 4, 1, bytes(3) + b"\1" + ask()))], "begins twice"),
}


@pytest.mark.parametrize(("script", "words"), FAULTS.values(), ids=FAULTS)
def test_faults(tmp_path: Path, script, words: str | None) -> None:
    """What is no HTTP/2 ends the splitting with a reason, and the stream under way is kept and marked."""
    seen, decoded = lab.play(tmp_path, *script)
    error = decoded.connections[0].error
    if words is None:
        assert decoded.connections[0].protocol == "http/1.1"
        return
    assert words in (error or "").replace("an HTTP/2", "a")
    assert decoded.problems
    assert seen[0].exchange.url == "https://a/x"
    assert words in " ".join(seen[0].exchange.notes).replace("an HTTP/2", "a")


def test_continuation_flood(tmp_path: Path) -> None:
    """A header block without end is given up in bounded memory."""
    script = [(0, ASK), (1, frame(HEADERS, 0, 1))]
    script += [(1, frame(CONTINUATION, 0, 1, bytes(16_000)))] * (MAX_BLOCK_BYTES // 16_000 + 1)
    _, decoded = lab.play(tmp_path, *script)
    assert f"more than {MAX_BLOCK_BYTES} bytes" in (decoded.connections[0].error or "")


def test_stream_flood(tmp_path: Path) -> None:
    """Streams beyond the limit end the splitting; those that were open are all kept."""
    requests = b"".join(frame(HEADERS, 5, 2 * number + 1, ask()) for number in range(20))
    seen, decoded = lab.play(tmp_path, (0, PREFACE + requests), limits=DecodeLimits(max_open_streams=10))
    assert "more than 10 open" in (decoded.connections[0].error or "")
    assert len(seen) == 10


def test_late_data_is_counted(tmp_path: Path) -> None:
    """DATA for a stream that has ended is counted on the connection."""
    end = frame(DATA, END_STREAM, 1, b"x")
    _, decoded = lab.play(tmp_path, (0, ASK), (1, ANSWER + end + frame(DATA, 0, 1, b"late")))
    assert decoded.connections[0].notes == ("4 bytes of DATA came for streams that had ended",)


def test_data_without_a_head(tmp_path: Path) -> None:
    """A stream whose DATA comes first keeps it, with an empty head; other streams go on."""
    second = frame(HEADERS, 5, 3, ask())
    answers = frame(DATA, END_STREAM, 1, b"x") + frame(HEADERS, 5, 3, block((b":status", b"204")))
    seen, decoded = lab.play(tmp_path, (0, ASK + second), (1, answers))
    assert [(one.exchange.response_head, one.response_body) for one in seen] == [
        (b"", b"x"),
        (b"HTTP/1.1 204 \r\n\r\n", b""),
    ]
    assert decoded.problems == []


@pytest.fixture(scope="module")
def conversation() -> list[tuple[int, bytes]]:
    peers = Peers()
    for stream in (1, 3, 5):
        peers.get(stream, ("accept", "*/*"))
    peers.answer(3, b"three" * 500, ("content-type", "text/html"))
    peers.answer(1, b"", status="304")
    peers.get(7, method="POST", end=False)
    peers.client.send_data(7, b"body", end_stream=True)
    peers.server.send_headers(5, [(":status", "200")])
    peers.server.send_data(5, b"five", pad_length=9)
    peers.carry()
    peers.client.reset_stream(5)
    peers.answer(7, b"seven" * 1000)
    return peers.script


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 400))
def test_any_chunking_gives_the_same(tmp_path: Path, conversation, seed, size: int) -> None:
    """How the network cut the bytes into pieces changes nothing in the exchanges."""
    rng, cut = random.Random(seed), []
    for direction, data in conversation:
        at = 0
        while at < len(data):
            step = rng.randint(1, size)
            cut.append((direction, data[at : at + step]))
            at += step
    again, _ = lab.play(tmp_path, *cut)
    once, _ = lab.play(tmp_path, *conversation)
    assert [one.key()[:-1] for one in again] == [one.key()[:-1] for one in once]
    assert len(once) == 4


@settings(max_examples=150)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    way=st.integers(0, 1),
)
def test_changed_bytes_never_raise(tmp_path: Path, conversation, changes, way: int) -> None:
    """Whatever bytes change, decoding ends: the connection is marked or the exchanges are other ones."""
    whole = bytearray(b"".join(data for direction, data in conversation if direction == way))
    for where, value in changes:
        whole[int(where * (min(len(whole), 900) - 1))] = value
    other = b"".join(data for direction, data in conversation if direction != way)
    script = [(way, bytes(whole)), (1 - way, other)] if way == 0 else [(0, other), (1, bytes(whole))]
    _, decoded = lab.play(tmp_path, *script)
    assert len(decoded.connections) == 1
