"""Wire file and key log become exchanges, connection facts and problems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tls_lab
import wire_lab as lab
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.capture.recorder.decode import DecodeLimits, decode
from archiver.capture.recorder.wire import Kind
from archiver.errors import EnvironmentUnfit

GET = b"GET /a HTTP/1.1\r\nHost: evidence.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> tuple[tls_lab.Recording, bytes]:
    folder = tmp_path_factory.mktemp("tls")
    client, server = tls_lab.contexts(tls_lab.make_certificate(folder, "ec"), folder / "keys.log")
    for context in (client, server):
        context.set_alpn_protocols(["http/1.1"])
    pair = tls_lab.Pair(client, server)
    pair.shake()
    pair.say(0, GET)
    pair.say(1, ANSWER)
    pair.say(0, GET)
    pair.say(1, b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    pair.close()
    return pair.recording, (folder / "keys.log").read_bytes()


def test_plain_connection(tmp_path: Path) -> None:
    """A plain exchange comes out with its bytes, times and addresses, and the connection with its facts."""
    seen, decoded = lab.play(tmp_path, (0, GET), (1, ANSWER))
    (one,) = seen
    assert one.exchange.url == "http://evidence.example/a"
    assert (one.exchange.request_head, one.response_body) == (GET, b"hello")
    assert (one.exchange.ip, one.exchange.port, one.exchange.tls) == ("198.51.100.7", 80, False)
    assert one.exchange.started_at_ns == lab.START_NS + 1000
    assert one.exchange.response_at_ns == one.exchange.finished_at_ns == lab.START_NS + 2000
    (facts,) = decoded.connections
    assert (facts.protocol, facts.error, facts.tls) == ("http/1.1", None, None)
    assert (facts.bytes_sent, facts.bytes_received) == (len(GET), len(ANSWER))
    assert (facts.dns_answers, facts.dns_ms, facts.connect_ms) == (("198.51.100.7",), 1.5, 2.5)
    assert (facts.closed_by, facts.close_reason) == ("client", "closed")
    assert facts.sent.size_bytes == len(GET)
    assert decoded.problems == []


def test_tls_connection(tmp_path: Path, tls) -> None:
    """What went through TLS comes out in clear with the handshake's facts, and ends whole at close_notify."""
    recording, keys = tls
    frames = lab.wire_bytes([*recording.wire, (1, None)], port=443)
    seen, decoded = lab.decode_bytes(tmp_path, frames, keys=keys)
    assert [one.response_body for one in seen] == [b"hello", b"until the end"]
    assert [one.exchange.url for one in seen] == ["https://evidence.example/a"] * 2
    assert [one.exchange.truncated for one in seen] == [None, None]
    assert [one.exchange.notes for one in seen] == [[], []]
    (facts,) = decoded.connections
    assert facts.tls is not None
    assert facts.tls.version == "TLS 1.3"
    assert facts.tls.server_finished
    assert decoded.problems == []


def test_tls_without_close_notify_is_noted(tmp_path: Path, tls) -> None:
    """A body that ends with a TLS connection that says no goodbye is kept, and the doubt is noted."""
    recording, keys = tls
    frames = lab.wire_bytes([*recording.wire[:-1], (1, None)], port=443)
    seen, _ = lab.decode_bytes(tmp_path, frames, keys=keys)
    assert seen[-1].response_body == b"until the end"
    assert "close_notify" in " ".join(seen[-1].exchange.notes)


def test_missing_keys_are_a_problem(tmp_path: Path, tls) -> None:
    """A connection without keys is named with the bytes that stay unread; nothing is guessed."""
    recording, _ = tls
    seen, decoded = lab.decode_bytes(tmp_path, lab.wire_bytes(recording.wire, port=443))
    assert seen == []
    (problem,) = decoded.problems
    assert problem.startswith("connection 1 (evidence.example): no keys for ")
    assert decoded.connections[0].error is not None


def test_fault_in_tls_keeps_what_came_before(tmp_path: Path, tls) -> None:
    """A record that does not verify ends the connection; what came before it, in one piece too, is kept."""
    recording, keys = tls
    *before, (_, good), _, (_, bad), _, _ = recording.wire
    wire = [*before, (1, good + bad[:-1] + bytes([bad[-1] ^ 1]))]
    seen, decoded = lab.decode_bytes(tmp_path, lab.wire_bytes(wire, port=443), keys=keys)
    assert [one.response_body for one in seen] == [b"hello"]
    assert decoded.problems[0].startswith("connection 1 (evidence.example): tls stream")


def test_keys_that_end_early_cut_the_exchange(tmp_path: Path, tls) -> None:
    """Where the keys of one direction are missing the exchanges begun are marked, never silently short."""
    recording, keys = tls
    only_client = b"".join(
        line + b"\n" for line in keys.splitlines() if b"SERVER_TRAFFIC_SECRET_0" not in line
    )
    _, decoded = lab.decode_bytes(tmp_path, lab.wire_bytes(recording.wire, port=443), keys=only_client)
    assert "no keys for" in decoded.problems[0]


def test_dropped_key_lines_are_reported(tmp_path: Path) -> None:
    """The browser's own word that it dropped lines is passed on."""
    _, decoded = lab.decode_bytes(tmp_path, b"", keys=b"# Some lines were dropped\n")
    assert decoded.key_log_dropped


@pytest.mark.parametrize(
    ("by", "why", "truncated"),
    [
        ("client", "closed", "disconnect"),
        ("server", "connection reset", "disconnect"),
        ("relay", "the byte budget of the capture was reached", "length"),
        ("relay", "the tape was closed", "time"),
        ("relay", "half closed and idle for 60 s", "disconnect"),
    ],
)
def test_truncation_says_who_cut(tmp_path: Path, by: str, why: str, truncated: str) -> None:
    """A body that is not whole says in WARC's words why."""
    seen, _ = lab.play(tmp_path, (0, GET), (1, ANSWER[:-2]), end=lab.closed(by, why))
    assert (seen[0].exchange.truncated, seen[0].response_body) == (truncated, b"hel")


def test_recording_that_was_killed(tmp_path: Path) -> None:
    """Without a close and with a torn last frame everything before it is kept, marked as cut."""
    frames = lab.wire_bytes([(0, GET), (1, ANSWER[:-2])])
    frames = frames[: frames.rindex(lab.closed()) - 17]
    torn = lab.frame(1, Kind.SERVER_DATA, 1, b"lo")[:-1]
    seen, decoded = lab.decode_bytes(tmp_path, frames + torn)
    assert (seen[0].exchange.truncated, seen[0].response_body) == ("disconnect", b"hel")
    assert decoded.torn_tail_bytes == len(torn)
    assert decoded.connections[0].closed_at_ns == 0


def test_not_delivered_bytes_are_only_counted(tmp_path: Path) -> None:
    """What reached nobody is in no body and in no plaintext, and its size is kept."""
    frames = lab.wire_bytes([(0, GET), (1, ANSWER[:-2])])
    late = lab.frame(1, Kind.NOT_DELIVERED_TO_CLIENT, 5, b"lo")
    end = frames.rindex(lab.closed()) - 17
    seen, decoded = lab.decode_bytes(tmp_path, frames[:end] + late + frames[end:])
    assert seen[0].response_body == b"hel"
    assert decoded.connections[0].not_delivered_bytes == 2
    assert decoded.connections[0].received.size_bytes == len(ANSWER) - 2


def test_refusals(tmp_path: Path) -> None:
    """A refused connection is listed with its stage and exact reason, and makes no exchange."""
    facts = {
        "stage": "resolve",
        "error": "Name or service not known",
        "errno": "EAI_NONAME",
        "host": "a.invalid",
    }
    frames = lab.frame(3, Kind.REFUSED, 7, json.dumps(facts | {"port": 443}).encode())
    seen, decoded = lab.decode_bytes(tmp_path, frames)
    (refusal,) = decoded.refusals
    assert (refusal.number, refusal.host, refusal.port, refusal.stage) == (3, "a.invalid", 443, "resolve")
    assert (refusal.reason, refusal.errno, refusal.at_ns) == ("Name or service not known", "EAI_NONAME", 7)
    assert seen == decoded.connections == []


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (lab.frame(9, Kind.SERVER_DATA, 1, b"x"), "connection 9: SERVER_DATA outside"),
        (lab.frame(9, Kind.CLOSED, 1, b"{}"), "connection 9: CLOSED outside"),
        (lab.frame(9, Kind.OPENED, 1, b"[]"), "connection 9: wire file"),
        (lab.frame(9, Kind.REFUSED, 1, b"\xff"), "connection 9: wire file"),
        (lab.frame(9, Kind.OPENED, 1, b"{}") * 2, "connection 9: opened twice"),
        (b"\0" * 40, "not read past this point"),
    ],
)
def test_lying_wire_is_a_problem(tmp_path: Path, frames: bytes, words: str) -> None:
    """A wire file that no relay wrote is described, not obeyed, and raises nothing."""
    _, decoded = lab.decode_bytes(tmp_path, frames)
    assert any(words in problem for problem in decoded.problems), decoded.problems


@pytest.mark.parametrize("value", [None, 7, "x" * 5000, ["a", 3], {"a": 1}, -1, 1e300, True])
def test_facts_of_another_type(tmp_path: Path, value: object) -> None:
    """Facts of an unexpected type are left empty."""
    names = ("host", "port", "ip", "dialled_port", "dns", "dns_ms", "connect_ms", "upstream")
    data = json.dumps(dict.fromkeys(names, value)).encode()
    _, decoded = lab.decode_bytes(tmp_path, lab.frame(1, Kind.OPENED, 1, data))
    facts = decoded.connections[0]
    assert isinstance(facts.host, str)
    assert len(facts.host) <= 1000
    assert 0 <= facts.port <= 65535


def test_missing_wire_file(tmp_path: Path) -> None:
    """A wire file that cannot be read is an error of ours with a hint, not a traceback of the system's."""
    with pytest.raises(EnvironmentUnfit, match="E542"):
        decode(tmp_path / "none.bin", tmp_path / "keys.log", lambda _: None, DecodeLimits())


def test_server_that_speaks_first(tmp_path: Path) -> None:
    """Bytes before any request belong to no exchange; the connection notes them."""
    seen, decoded = lab.play(tmp_path, (1, b"220 mail ready\r\n"))
    assert seen == []
    assert "16 bytes came" in decoded.connections[0].notes[0]


def test_server_that_floods_first(tmp_path: Path) -> None:
    """A server that sends without end before the client speaks is given up, in bounded memory."""
    limits = DecodeLimits(max_waiting_bytes=4096)
    _, decoded = lab.play(tmp_path, *[(1, b"x" * 100)] * 50, limits=limits)
    assert "before the client spoke" in decoded.problems[0]


def test_digests_go_on_after_a_fault(tmp_path: Path) -> None:
    """The plaintext digests cover every byte, also after the splitter gave up."""
    script = [(0, GET), (1, b"HTTP/1.1 200 OK\r\nX: "), *[(1, b"x" * 100_000)] * 3, (1, b"more")]
    _, decoded = lab.play(tmp_path, *script)
    assert "more than 262144 bytes" in (decoded.connections[0].error or "")
    assert decoded.connections[0].received.size_bytes == 300_024


@settings(max_examples=150)
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=6))
def test_flipped_bytes_never_raise(tmp_path: Path, tls, flips) -> None:
    """Whatever bytes are flipped in a wire file, decoding ends and hands over what it can."""
    recording, keys = tls
    plain = [
        (0, GET),
        (1, ANSWER),
        (0, GET),
        (1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"),
    ]
    frames = bytearray(lab.wire_bytes(recording.wire, port=443) + lab.wire_bytes(plain, number=2))
    for where, mask in flips:
        frames[int(where * (len(frames) - 1))] ^= mask
    seen, decoded = lab.decode_bytes(tmp_path, bytes(frames), keys=keys)
    assert decoded.connections or decoded.problems
    assert all(one.exchange.finished_at_ns >= 0 for one in seen)
