"""tshark reads our transcripts and finds the same plaintext as we do."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import ssl
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import brotli
import h2.config
import h2.connection
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "archiver" / "recorder"))

import tls_lab
import wire_lab as lab

from archiver.capture.recorder import crosscheck as cc
from archiver.capture.recorder.body import BodyWriter
from archiver.capture.recorder.connection_facts import Plaintext
from archiver.capture.recorder.decode import Decoded, DecodeLimits, decode
from archiver.capture.recorder.exchange import Exchange
from archiver.capture.recorder.transcript import write_transcript
from archiver.capture.recorder.wire import HEADER
from archiver.errors import EnvironmentUnfit

pytestmark = [
    pytest.mark.tshark,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

TEXT = "Қазақстан, evidence, доказательство. ".encode() * 900


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: evidence.example\r\n\r\n".encode()


def answer(body: bytes, *fields: str) -> bytes:
    head = "".join(f"{field}\r\n" for field in ("Content-Type: text/html", *fields))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


def sized(body: bytes, *fields: str) -> bytes:
    return answer(body, f"Content-Length: {len(body)}", *fields)


def chunked(body: bytes, *fields: str) -> bytes:
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    framed = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return answer(framed + b"0\r\nX-Trailer: yes\r\n\r\n", "Transfer-Encoding: chunked", *fields)


def h1_talk(pair: tls_lab.Pair) -> None:
    deflate = zlib.compressobj(wbits=-15)
    bodies = [
        sized(TEXT),
        chunked(TEXT[5:]),
        sized(gzip.compress(TEXT[6:], mtime=0), "Content-Encoding: gzip"),
        chunked(gzip.compress(TEXT[7:], mtime=0), "Content-Encoding: gzip"),
        sized(brotli.compress(TEXT[8:]), "Content-Encoding: br"),
        sized(deflate.compress(TEXT[9:]) + deflate.flush(), "Content-Encoding: deflate"),
    ]
    for number, body in enumerate(bodies):
        pair.say(0, request(f"/{number}"))
        pair.say(1, body)


def h2_talk(pair: tls_lab.Pair) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))

    def carry() -> None:
        for side, other, way in ((client, server, 0), (server, client, 1)):
            if data := side.data_to_send():
                pair.say(way, data)
                other.receive_data(data)

    client.initiate_connection()
    server.initiate_connection()
    carry()
    carry()
    for stream in (1, 3, 5):
        head = {":method": "GET", ":scheme": "https", ":authority": "evidence.example", ":path": f"/{stream}"}
        client.send_headers(stream, list(head.items()), end_stream=True)
    carry()
    for stream in (1, 3, 5):
        coded = stream == 3
        fields = [("content-encoding", "gzip")] if coded else []
        server.send_headers(stream, [(":status", "200"), ("content-type", "text/plain"), *fields])
        body = gzip.compress(TEXT, mtime=0) if coded else TEXT[stream:]
        for at in range(0, min(len(body), 20_000), 5_000):
            server.send_data(stream, body[at : at + 5_000], pad_length=7 if stream == 5 else None)
        server.end_stream(stream)
    carry()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Decoded, list[cc.BodyClaim]]:
    """Five connections: h1 over TLS 1.3 and 1.2, h2, plain, IPv6; their transcript and what we say of it."""
    folder = tmp_path_factory.mktemp("tshark")
    pem = tls_lab.make_certificate(folder, "ec")
    talks = [
        ("http/1.1", ssl.TLSVersion.TLSv1_3, h1_talk),
        ("http/1.1", ssl.TLSVersion.TLSv1_2, h1_talk),
        ("h2", ssl.TLSVersion.TLSv1_3, h2_talk),
    ]
    frames = b""
    for number, (alpn, version, talk) in enumerate(talks, 1):
        contexts = tls_lab.contexts(pem, folder / "keys.log", version=version)
        for context in contexts:
            context.set_alpn_protocols([alpn])
        pair = tls_lab.Pair(*contexts)
        pair.shake()
        talk(pair)
        pair.close()
        frames += lab.wire_bytes([*pair.recording.wire, (0, None), (1, None)], port=443, number=number)
    plain = [(0, request("/plain")), (1, answer(TEXT[11:])), (1, None), (0, None)]
    frames += lab.wire_bytes(plain, number=4)
    frames += lab.frame(5, lab.Kind.OPENED, lab.START_NS, lab.opened(ip="2606:4700:0:0::1"))
    frames += lab.frame(5, lab.Kind.CLIENT_DATA, lab.START_NS, request("/v6"))
    frames += lab.frame(5, lab.Kind.SERVER_DATA, lab.START_NS, sized(TEXT[12:]))
    (folder / "wire.bin").write_bytes(HEADER + frames)
    claims: list[cc.BodyClaim] = []

    def sink(exchange: Exchange) -> None:
        if claim := cc.BodyClaim.of(exchange):
            claims.append(claim)

    decoded = decode(folder / "wire.bin", folder / "keys.log", sink, DecodeLimits())
    assert decoded.problems == []
    write_transcript(folder / "wire.bin", (folder / "keys.log").read_bytes(), folder / "t.pcapng")
    return folder / "t.pcapng", decoded, claims


@pytest.fixture(scope="module")
def claims(recorded) -> list[cc.ConnectionClaim]:
    return [cc.ConnectionClaim.of(facts) for facts in recorded[1].connections]


@pytest.fixture(scope="module")
def result(recorded, claims) -> cc.Crosscheck:
    return cc.crosscheck(recorded[0], claims, recorded[2])


def test_every_direction_agrees(result: cc.Crosscheck) -> None:
    """Decrypted by tshark, every direction of every connection is exactly our bytes."""
    assert result.agrees
    assert len(result.directions) == 10
    assert all(check.got == check.expected for check in result.directions)
    assert all(check.expected.size_bytes > 40 for check in result.directions)
    assert result.reader.startswith("TShark")


def test_every_body_is_found(result: cc.Crosscheck) -> None:
    """Each body of sized, chunked and coded HTTP/1 and of HTTP/2 with padding is found with our digest."""
    assert [check for check in result.bodies if not check.exported] == []
    assert sum(check.claim.stream is not None for check in result.bodies) == 3
    assert len(result.bodies) == 17


def test_a_false_digest_is_found_out(recorded, claims) -> None:
    """One byte of difference in one direction makes the check fail, and names the direction."""
    false = replace(claims[0], received=Plaintext(claims[0].received.size_bytes, "0" * 64))
    result = cc.crosscheck(recorded[0], [false, *claims[1:]], [])
    assert not result.agrees
    wrong = [(check.connection, check.side) for check in result.directions if not check.agrees]
    assert wrong == [(1, "server")]


def test_sides_that_are_swapped_are_found_out(recorded, claims) -> None:
    """A claim with one side's plaintext for both does not pass as a pair."""
    false = replace(claims[1], sent=claims[1].received)
    assert not cc.crosscheck(recorded[0], [false], []).agrees


@pytest.mark.parametrize("stream", [None, 3, 5])
def test_a_body_nobody_exported_is_listed(recorded, claims, stream: int | None) -> None:
    """A body that tshark does not export is listed with a reason, never passed over."""
    claim = next(claim for claim in recorded[2] if claim.stream == stream)
    false = [replace(claim, sha256s=frozenset({"0" * 64})), replace(claim, connection=4, sha256s=frozenset())]
    result = cc.crosscheck(recorded[0], claims, false)
    assert [check.exported for check in result.bodies] == [False, False]
    assert result.bodies[0].reason == "tshark exports nothing with its digest"


def exchange_with(body: bytes, head: bytes, tmp_path: Path, **facts: object) -> Exchange:
    writer = BodyWriter(tmp_path)
    writer.write(body)
    defaults = {
        "connection": 1,
        "stream": None,
        "url": "http://a/",
        "method": "GET",
        "protocol": "http/1.1",
        "request_head": b"",
        "request_body": None,
        "response_head": head,
        "response_body": writer.finish(),
        "started_at_ns": 1,
        "response_at_ns": 1,
        "finished_at_ns": 1,
        "ip": "",
        "port": 80,
        "tls": False,
    }
    return Exchange(**(defaults | facts))


@pytest.mark.parametrize(
    ("head", "body", "facts", "remark"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n", b"x", {}, "'zstd' is not read here"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"not gzip", {}, "not deflate"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", b"\xff\xff\xff", {}, "not brotli"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(TEXT)[:-9], {}, "ends early"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", {"truncated": "disconnect"}, "truncated: disconnect"),
        (b"HTTP/1.1 101 Up\r\n\r\n", b"x", {"protocol": "websocket"}, "WebSocket"),
        (b"", b"SSH-2.0", {}, "no HTTP head"),
    ],
)
def test_what_cannot_be_exported_says_why(tmp_path: Path, head, body, facts, remark: str) -> None:
    """A body that a reader may not take out says why before anybody asks."""
    claim = cc.BodyClaim.of(exchange_with(body, head, tmp_path, **facts))
    assert claim is not None
    assert remark in claim.remark


def test_a_bomb_is_digested_in_pieces(tmp_path: Path) -> None:
    """A small brotli body that stands for 64 MB is digested without holding it."""
    bomb = brotli.compress(bytes(64 * 1024 * 1024), quality=1)
    exchange = exchange_with(bomb, b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", tmp_path)
    tracemalloc.start()
    claim = cc.BodyClaim.of(exchange)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert claim is not None
    assert hashlib.sha256(bytes(64 * 1024 * 1024)).hexdigest() in claim.sha256s
    assert peak < 8 * 1024 * 1024


def test_without_secrets_nothing_agrees(recorded, claims, tmp_path: Path) -> None:
    """The transcript without its secrets opens no TLS connection: agreement is not taken for granted."""
    out = tmp_path / "closed.pcapng"
    write_transcript(recorded[0].parent / "wire.bin", b"", out)
    result = cc.crosscheck(out, claims, [])
    assert {check.connection for check in result.directions if not check.agrees} == {1, 2, 3}


def test_a_missing_connection_does_not_agree(recorded, claims) -> None:
    """A connection that the transcript does not hold is a disagreement."""
    result = cc.crosscheck(recorded[0], [*claims, replace(claims[0], number=77)], [])
    assert {check.connection for check in result.directions if not check.agrees} == {77}


def test_a_file_that_is_no_transcript(tmp_path: Path) -> None:
    """A file that tshark cannot read is an error with tshark's words, not a disagreement."""
    (tmp_path / "t.pcapng").write_bytes(b"not a capture file")
    with pytest.raises(EnvironmentUnfit, match="E545"):
        cc.crosscheck(tmp_path / "t.pcapng", [], [])


def test_tshark_that_is_not_there(recorded, claims, monkeypatch) -> None:
    """Without tshark the error says what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EnvironmentUnfit, match="E544") as caught:
        cc.crosscheck(recorded[0], claims, [])
    assert "install tshark" in caught.value.hint


def test_headers_are_right_by_tshark(recorded) -> None:
    """Wireshark's own checks find no wrong checksum, no lost segment and nothing malformed."""
    checks = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    wrong = (
        "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 || tcp.analysis.lost_segment"
    )
    wrong += " || tcp.analysis.retransmission || tcp.analysis.out_of_order || tcp.analysis.ack_lost_segment"
    command = ["tshark", "-r", str(recorded[0]), *checks, "-Y", wrong]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""
    good = ["tshark", "-r", str(recorded[0]), *checks, "-Y", "tcp.checksum.status == 1"]
    assert len(subprocess.run(good, capture_output=True, check=True).stdout.splitlines()) > 100
