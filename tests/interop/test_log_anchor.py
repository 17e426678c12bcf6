"""Bounds from outside: OpenTimestamps proofs, as its own library reads them, and beacons before a capture."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.op import OpPrepend, OpSHA256
from opentimestamps.core.serialize import BytesDeserializationContext, BytesSerializationContext
from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp

from manifests.beacon import Beacon, BeaconUnavailable, fetch_value
from manifests.ots_client import CalendarUnavailable, anchor, read_proof

NOTE = b"example.org/evidence\n7\n..."


@pytest.fixture
def server():
    """Answers every request with what ``answer(body)`` gives."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            running.paths.append(self.path)
            data = running.answer(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815  the base class calls it so

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.paths = []
    running.url = f"http://127.0.0.1:{running.server_address[1]}"
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def promise(message):
    """What a calendar answers: operations, a fork, two pending attestations."""
    stamp = Timestamp(message)
    for url in (b"\x01", b"\x02"):
        end = stamp.ops.add(OpPrepend(url)).ops.add(OpSHA256())
        end.attestations.add(PendingAttestation(f"https://calendar{url[0]}.example"))
    context = BytesSerializationContext()
    stamp.serialize(context)
    return context.getbytes()


def test_proof_is_read_by_the_library_of_opentimestamps(server):
    """The file that we write is a detached timestamp over the checkpoint, and both readers agree on it."""
    server.answer = promise
    proof = anchor(NOTE, server.url + "/")
    assert server.paths == ["/digest"]
    theirs = DetachedTimestampFile.deserialize(BytesDeserializationContext(proof))
    assert theirs.file_digest == hashlib.sha256(NOTE).digest()
    pending = {(each.uri, message) for message, each in theirs.timestamp.all_attestations()}
    ours = read_proof(proof, NOTE)
    assert {each.kind for each in ours} == {"pending"}
    assert {(each.where, each.digest) for each in ours} == pending
    assert len(pending) == 2


def upgraded():
    stamp = Timestamp(hashlib.sha256(NOTE).digest())
    end = stamp.ops.add(OpPrepend(b"x")).ops.add(OpSHA256())
    end.attestations.add(BitcoinBlockHeaderAttestation(900_000))
    context = BytesSerializationContext()
    DetachedTimestampFile(OpSHA256(), stamp).serialize(context)
    return context.getbytes(), end.msg


def test_upgraded_proof_names_its_block():
    """A proof that the library completed names the block and the Merkle root that its header must hold."""
    proof, root = upgraded()
    (found,) = read_proof(proof, NOTE)
    assert (found.kind, found.where, found.digest) == ("bitcoin", "900000", root)


@settings(max_examples=300)
@given(
    at=st.integers(0, len(upgraded()[0]) - 1), kind=st.sampled_from(["flip", "cut"]), byte=st.integers(1, 255)
)
def test_changed_proofs_say_something_else_or_nothing(at, kind, byte):
    """A changed proof never still names the same root in the same block, except for a kind nobody knows."""
    proof, root = upgraded()
    changed = proof[:at] if kind == "cut" else proof[:at] + bytes([proof[at] ^ byte]) + proof[at + 1 :]
    try:
        found = read_proof(changed, NOTE)
    except (ValueError, UnicodeDecodeError):
        return
    assert [(each.kind, each.where, each.digest) for each in found] != [("bitcoin", "900000", root)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"\xff" * 9000,
        b"\xf0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x08" * 5000,
        bytes(10_001),
    ],
)
def test_calendars_that_answer_junk_are_unavailable(server, answer):
    """Whatever a calendar sends that is no proof is refused, in bounded steps."""
    server.answer = lambda _: answer
    with pytest.raises(CalendarUnavailable):
        anchor(NOTE, server.url)


def test_proof_over_other_bytes_is_refused():
    """A proof of another checkpoint, or one with bytes behind it, is none of this one."""
    proof, _ = upgraded()
    for data, text in ((b"other", proof), (NOTE, proof + b"\0"), (NOTE, proof * 3000)):
        with pytest.raises(ValueError, match="proof: expected"):
            read_proof(text, data)


ROUND = {"round": 5, "randomness": "ab" * 32, "signature": "cd" * 48, "extra": 1}
GENESIS = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CHECKPOINT = "log.example\n12\nAAAA=\n\n— log.example YWJjZGVmZ2g=\n"


def test_drand_round_bounds_from_below(server):
    """A round gives its number, its randomness and the time it was due."""
    server.answer = lambda _: json.dumps(ROUND).encode()
    got = fetch_value(Beacon("drand", server.url, GENESIS, 30))
    assert got.value == f"round 5 {'ab' * 32} {'cd' * 48}"
    assert got.published_at == GENESIS + dt.timedelta(seconds=120)


def test_log_checkpoint_bounds_from_below(server):
    """A public log's checkpoint is kept as it is, and no time is made up for it."""
    server.answer = lambda _: CHECKPOINT.encode()
    got = fetch_value(Beacon("tlog-checkpoint", server.url))
    assert (got.value, got.published_at) == (CHECKPOINT, None)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("drand", b""),
        ("drand", b"[]"),
        ("drand", b"[" * 4000),
        ("drand", json.dumps(ROUND | {"round": 0}).encode()),
        ("drand", json.dumps(ROUND | {"round": 1.5}).encode()),
        ("drand", json.dumps(ROUND | {"round": 10**400}).encode()),
        ("drand", json.dumps(ROUND | {"randomness": "xy" * 32}).encode()),
        ("drand", json.dumps({"round": 5}).encode()),
        ("drand", b"\xff"),
        ("drand", bytes(5000)),
        ("tlog-checkpoint", b"<html>"),
        ("tlog-checkpoint", CHECKPOINT.replace("12", "x").encode()),
        ("tlog-checkpoint", CHECKPOINT.replace("12", "12\x1b[2J").encode()),
        ("tlog-checkpoint", CHECKPOINT.replace("\n\n", "\n").encode()),
    ],
)
def test_odd_beacons_are_unavailable(server, source, answer):
    """An answer that is not the source's form gives no bound, and no traceback."""
    server.answer = lambda _: answer
    with pytest.raises(BeaconUnavailable):
        fetch_value(Beacon(source, server.url, GENESIS, 30))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:9/", "http://[", ""])
def test_addresses_that_lead_nowhere_are_unavailable(url):
    """A dead, broken or non-HTTP address gives no bound, and reads no file."""
    with pytest.raises(BeaconUnavailable):
        fetch_value(Beacon("drand", url))
