"""Following whole connections: cut anyhow, without keys, broken, or hostile."""

from __future__ import annotations

import hashlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tls_forge import (
    CLIENT,
    EARLY,
    ECH,
    SERVER,
    Forge,
    certificate,
    client_hello,
    extension,
    leaf_and_key,
    message,
    plain_record,
    server_hello,
    vector,
)
from tls_lab import Pair, contexts, follow, follow_some, make_certificate, record, refused

from archiver.capture.recorder import tls
from archiver.capture.recorder.keylog import KeyLog
from archiver.capture.recorder.tls import TlsError, TlsStream
from archiver.capture.recorder.tls_messages import RETRY_RANDOM

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
KINDS = {
    "1.3": {"version": V13},
    "1.2 gcm": {"version": V12},
    "1.2 cbc": {"version": V12, "suites": "ECDHE-RSA-AES128-SHA"},
}
SEVERAL = settings(max_examples=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def recordings(folder):
    """One connection of each kind, with its key log."""
    pem = make_certificate(folder, "rsa")
    logs = {kind: folder / f"{kind}.log" for kind in KINDS}
    return {kind: (record(pem, logs[kind], **KINDS[kind])[0], logs[kind]) for kind in KINDS}


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys.log"


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_out(kind, recordings):
    """Each byte that either side sent comes out in its direction, and the handshake is proven."""
    recording, keys = recordings[kind]
    stream, plain = follow(recording.wire, keys)
    facts = stream.facts()
    assert plain == tuple(map(bytes, recording.sent))
    assert (facts.certificate_verify.valid, facts.server_finished, facts.client_finished) == (
        True,
        True,
        True,
    )
    assert (facts.alpn, facts.not_followed, stream.pending_bytes) == ("h2", "", 0)


def test_times_are_those_of_the_last_byte(recordings):
    """Plaintext carries the time of the data that completed its record."""
    recording, keys = recordings["1.3"]
    stream, at = TlsStream(KeyLog(keys)), 0
    for way, data in recording.wire:
        for offset in range(len(data)):
            at += 1
            events = stream.feed(way, data[offset : offset + 1], at)
            assert all(time_ns == at for _, _, time_ns in events)


@pytest.mark.parametrize("kind", KINDS)
@SEVERAL
@given(st.data())
def test_any_cuts(kind, recordings, data):
    """However the bytes are cut into chunks, the plaintext is the same."""
    recording, keys = recordings[kind]
    wire = []
    for way, chunk in recording.wire:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(chunk)), max_size=8)))
        edges = zip([0, *cuts], [*cuts, len(chunk)], strict=True)
        wire += [(way, chunk[start:end]) for start, end in edges]
    assert follow(wire, keys)[1] == tuple(map(bytes, recording.sent))


@pytest.mark.parametrize("kind", KINDS)
@SEVERAL
@given(st.data())
def test_any_damage(kind, recordings, data):
    """Flipped, lost and added bytes raise only TlsError, and what comes out is the start of what was sent."""
    recording, keys = recordings[kind]
    wire = list(recording.wire)
    at = data.draw(st.integers(0, len(wire) - 1))
    way, chunk = wire[at]
    start = data.draw(st.integers(0, len(chunk)))
    end = data.draw(st.integers(start, min(len(chunk), start + 40)))
    wire[at] = (way, chunk[:start] + data.draw(st.binary(max_size=40)) + chunk[end:])
    _, plain, _ = follow_some(wire, keys)
    assert all(bytes(sent).startswith(bytes(got)) for got, sent in zip(plain, recording.sent, strict=True))


@SEVERAL
@given(chunks=st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=300)), max_size=6))
def test_any_bytes(chunks, folder):
    """Bytes that are no TLS at all raise only TlsError."""
    follow_some(chunks, folder / "1.3.log")


def test_missing_keys_wait(recordings, keys):
    """Without keys nothing comes out and nothing is raised; with them everything does."""
    recording, log = recordings["1.3"]
    stream, plain = follow(recording.wire, keys)
    facts = stream.facts()
    assert plain == (b"", b"")
    assert stream.pending_bytes > 50_000
    assert facts.undecrypted_records > 4
    assert facts.not_followed == "the key log has no SERVER_HANDSHAKE_TRAFFIC_SECRET for this connection"
    assert (facts.version, facts.server_finished) == ("TLS 1.3", None)
    keys.write_bytes(log.read_bytes())
    out = (bytearray(), bytearray())
    for direction, content, _ in stream.pump():
        out[direction].extend(content)
    assert (out, stream.pending_bytes, stream.facts().not_followed) == (recording.sent, 0, "")


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_come_line_by_line(kind, recordings, keys):
    """Whatever part of the key log is there, the rest waits, and in the end all is out and in order."""
    recording, log = recordings[kind]
    stream, _ = follow(recording.wire, keys)
    out = (bytearray(), bytearray())
    for line in log.read_bytes().splitlines(keepends=True):
        with keys.open("ab") as file:
            file.write(line)
        for direction, content, _ in stream.pump():
            out[direction].extend(content)
    assert out == recording.sent
    assert stream.facts().client_finished


@pytest.mark.parametrize("limit", ["MAX_PENDING_BYTES", "MAX_PENDING_RECORDS"])
def test_waiting_is_limited(limit, recordings, keys, monkeypatch):
    """More than the limit does not wait for keys: the stream is given up with an error."""
    monkeypatch.setattr(tls, limit, 3)
    error = refused(recordings["1.3"][0].wire, keys)
    assert "key log: expected SERVER_HANDSHAKE_TRAFFIC_SECRET before" in error.message
    assert error.code == "E530"


def test_wrong_keys_are_refused(recordings, keys):
    """Secrets of another connection under this one's random do not open anything."""
    recording, log = recordings["1.3"]
    keys.write_bytes(_swapped(log.read_bytes()))
    assert refused(recording.wire, keys).code == "E525"


def _swapped(log):
    lines = [line.split() for line in log.splitlines() if not line.startswith(b"#")]
    return b"".join(b"%s %s %s\n" % (label, random, secret[::-1]) for label, random, secret in lines)


def test_error_keeps_what_came_before(keys):
    """The error carries the plaintext of the same call, names the stream, and comes again without it."""
    forge = Forge(keys).whole()
    records = forge.seal(SERVER, 23, b"kept") + forge.seal(SERVER, 23, b"also kept") + bytes(30)
    stream, _ = follow(forge.wire, keys)
    with pytest.raises(
        TlsError, match=rf"^tls stream {forge.random.hex()[:12]}: record: .*\[E520\]$"
    ) as caught:
        stream.feed(SERVER, records, 9)
    assert caught.value.events == [(SERVER, b"kept", 9), (SERVER, b"also kept", 9)]
    for again in (stream.pump, lambda: stream.feed(CLIENT, b"", 10)):
        with pytest.raises(TlsError, match=r"\[E520\]") as caught:
            again()
        assert caught.value.events == []
    assert stream.facts().not_followed == str(caught.value)


@pytest.mark.parametrize("flip", ["", "certificate verify", "server finished", "client finished"])
def test_flipped_proofs_are_false(flip, keys, folder):
    """A changed signature or MAC is a fact, not a fault: it says False and the data still comes out."""
    leaf, key = leaf_and_key(make_certificate(folder, "ed25519"))
    forge = Forge(keys)
    forge.hello()
    forge.shake(SERVER, message(8, vector(b"", 2)), certificate(leaf))
    forge.shake(SERVER, forge.verify_message(key, flip=flip == "certificate verify"))
    forge.finish(SERVER, flip=flip == "server finished")
    forge.finish(CLIENT, flip=flip == "client finished")
    forge.say(SERVER, forge.seal(SERVER, 23, b"page"))
    stream, plain = follow(forge.wire, keys)
    facts = stream.facts()
    assert plain[1] == b"page"
    assert facts.certificate_verify.valid is (flip != "certificate verify")
    assert facts.server_finished is (flip != "server finished")
    assert facts.client_finished is (flip != "client finished")


@pytest.mark.parametrize(
    ("scheme", "leaf", "reason"),
    [
        (0x0904, None, "scheme is not known"),
        (0x0403, None, "expected a key for ecdsa_secp256r1_sha256"),
        (0x0807, b"no certificate", "key cannot be used"),
        (0x0807, "of no version", "key cannot be used: 1 is not a valid X509 version"),
    ],
)
def test_proof_that_cannot_be_checked(scheme, leaf, reason, keys, folder):
    """An unknown scheme, another key or a broken certificate is told as not checked, with the reason."""
    real, key = leaf_and_key(make_certificate(folder, "ed25519"))
    if leaf == "of no version":
        leaf = real.replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\1")
    forge = Forge(keys)
    forge.hello()
    forge.shake(SERVER, message(8, vector(b"", 2)), certificate(leaf or real))
    forge.shake(SERVER, forge.verify_message(key, scheme=scheme))
    check = follow(forge.wire, keys)[0].facts().certificate_verify
    assert check.valid is None
    assert reason in check.reason


def test_padding_and_fragments(keys):
    """Zero padding is taken off, a message over many records is put together, empty data is nothing."""
    forge = Forge(keys)
    forge.hello()
    encrypted = message(8, vector(extension(16, vector(vector(b"h2", 1), 2)), 2))
    forge.transcript += encrypted
    for at in range(0, len(encrypted), 3):
        forge.say(SERVER, forge.seal(SERVER, 22, encrypted[at : at + 3], padding=at))
    forge.finish(SERVER)
    forge.finish(CLIENT)
    for content, padding in ((b"", 0), (b"a\0\0", 1000), (b"", 50), (b"\0", 0)):
        forge.say(CLIENT, forge.seal(CLIENT, 23, content, padding=padding))
    stream, plain = follow(forge.wire, keys)
    assert plain[0] == b"a\0\0\0"
    assert (stream.facts().alpn, stream.facts().client_finished) == ("h2", True)


def test_staple_and_timestamps(keys, folder):
    """OCSP staple and certificate timestamps of the leaf's entry are facts."""
    leaf, _ = leaf_and_key(make_certificate(folder, "ed25519"))
    extras = extension(5, b"\1" + vector(b"ocsp", 3)) + extension(18, b"scts")
    forge = Forge(keys)
    forge.hello()
    forge.shake(SERVER, message(8, vector(b"", 2)), certificate(leaf, b"issuer", leaf=extras))
    facts = follow(forge.wire, keys)[0].facts()
    assert (facts.chain, facts.ocsp_staple, facts.scts_present) == ((leaf, b"issuer"), b"ocsp", True)


def test_grease_ech_is_normal(keys):
    """An encrypted client hello that the server did not take is noted and changes nothing."""
    forge = Forge(keys).whole(ECH)
    forge.say(CLIENT, forge.seal(CLIENT, 23, b"get"))
    stream, plain = follow(forge.wire, keys)
    assert plain[0] == b"get"
    assert (stream.facts().ech_offered, stream.facts().ech_accepted) == (True, False)


def test_accepted_ech_is_told(keys):
    """Where the inner hello was taken, nothing is decrypted and the facts say why."""
    forge = Forge(keys).whole(ECH)
    inner = keys.read_text().replace(forge.random.hex(), "00" * 32)
    keys.write_text(inner)
    stream, _ = follow(forge.wire, keys)
    assert (stream.facts().ech_accepted, stream.pending_bytes > 0) == (None, True)
    assert "if that was accepted" in stream.facts().not_followed
    keys.write_text(f"{inner}ECH_SECRET {forge.random.hex()} {'ab' * 32}\n")
    assert stream.pump() == []
    assert stream.facts().ech_accepted is True
    assert "was accepted, which is not followed" in stream.facts().not_followed


def test_early_data_waits_for_the_answer(keys):
    """Early data stays back until the server takes it, then comes before all else, with its own time."""
    forge = Forge(keys)
    forge.hello(EARLY)
    hello, answer = forge.wire
    forge.keys(CLIENT, "early")
    early = forge.seal(CLIENT, 23, b"early")
    stream = TlsStream(KeyLog(keys))
    stream.feed(*hello, 1)
    assert stream.feed(CLIENT, early, 2) == []
    assert stream.pending_bytes == len(early)
    assert stream.facts().not_followed == "early data waits for the server's answer"
    stream.feed(*answer, 3)
    forge.shake(SERVER, message(8, vector(EARLY, 2)))
    assert stream.feed(*forge.wire[-1], 4) == [(CLIENT, b"early", 2)]
    assert stream.facts().early_data_accepted is True


def test_refused_early_data_is_limited(keys, monkeypatch):
    """Records that never open are passed over only up to a limit after the server refused early data."""
    monkeypatch.setattr(tls, "MAX_REFUSED_EARLY_BYTES", 5000)
    forge = Forge(keys)
    forge.hello(EARLY)
    forge.shake(SERVER, message(8, vector(b"", 2)))
    stream, _ = follow(forge.wire, keys)
    forge.keys(CLIENT, "early")
    records = b"".join(forge.seal(CLIENT, 23, bytes(100)) for _ in range(60))
    with pytest.raises(TlsError, match=r"at most 5000 refused bytes, got more \[E531\]"):
        stream.feed(CLIENT, records, 1)
    assert stream.facts().undecrypted_records > 40


def test_plain_alert(keys):
    """An alert in clear is kept and marked as such, since anybody on the way could send it."""
    forge = Forge(keys)
    forge.hello()
    forge.say(CLIENT, plain_record(21, b"\2\x2e"))
    (alert,) = follow(forge.wire, keys)[0].facts().alerts
    assert (alert.direction, alert.level, alert.description, alert.encrypted) == (
        0,
        "fatal",
        "certificate_unknown",
        False,
    )


def test_alerts_are_limited(keys):
    """A flood of warnings does not fill the memory."""
    forge = Forge(keys).whole()
    forge.say(SERVER, b"".join(forge.seal(SERVER, 21, b"\1\x5a") for _ in range(200)))
    assert len(follow(forge.wire, keys)[0].facts().alerts) == 32


def test_retry_is_folded_into_the_transcript(keys):
    """After a retry both MACs are over the hash of the first hello, the retry and the second hello."""
    forge = Forge(keys)
    first, retry = client_hello(forge.random, EARLY), server_hello(RETRY_RANDOM)
    forge.say(CLIENT, plain_record(22, first))
    forge.keys(CLIENT, "early")
    forge.say(CLIENT, forge.seal(CLIENT, 23, b"refused"))
    forge.say(SERVER, plain_record(22, retry))
    forge.transcript = b"\xfe\0\0\x20" + hashlib.sha256(first).digest() + retry
    stream, plain = follow(forge.whole().wire, keys)
    facts = stream.facts()
    assert (facts.hello_retry, facts.server_finished, facts.client_finished) == (True, True, True)
    assert (plain, facts.early_data_accepted, facts.undecrypted_records) == ((b"", b""), False, 1)


def test_swapped_certificate_of_tls12(recordings):
    """A TLS 1.2 certificate that is not the one that passed makes both MACs and the signature false."""
    recording, keys = recordings["1.2 gcm"]
    stream, plain = follow(recording.wire, keys)
    leaf = stream.facts().chain[0]
    key = leaf.index(b"\x02\x82\x01\x01\x00") + 200
    other = leaf[:key] + bytes([leaf[key] ^ 1]) + leaf[key + 1 :]
    swapped, same = follow([(way, data.replace(leaf, other)) for way, data in recording.wire], keys)
    facts = swapped.facts()
    assert (same, facts.chain) == (plain, (other,))
    assert (facts.certificate_verify.valid, facts.server_finished, facts.client_finished) == (False,) * 3


def test_tickets_are_limited(keys):
    """A flood of tickets does not fill the memory."""
    forge = Forge(keys).whole()
    ticket = bytes(8) + vector(b"n", 1) + vector(b"ticket", 2) + bytes(2)
    for _ in range(100):
        forge.say(SERVER, forge.seal(SERVER, 22, message(4, ticket)))
    assert len(follow(forge.wire, keys)[0].facts().ticket_ids) == 64


def test_unfinished_record_is_counted(recordings):
    """A connection that was cut in a record leaves the bytes of that record in the facts."""
    recording, keys = recordings["1.3"]
    way, data = next((way, data) for way, data in reversed(recording.wire) if len(data) > 1000)
    at = recording.wire.index((way, data))
    stream, plain = follow([*recording.wire[:at], (way, data[:-10])], keys)
    assert stream.facts().trailing_bytes[way] > 0
    assert bytes(recording.sent[way]).startswith(plain[way])


def test_big_record_sizes(folder, tmp_path):
    """A body of some megabytes comes out whole, over records of full size."""
    keys = tmp_path / "big.log"
    pair = Pair(*contexts(folder / "rsa.pem", keys))
    pair.shake()
    body = bytes(range(256)) * 16384
    pair.say(SERVER, body)
    assert follow(pair.recording.wire, keys)[1][1] == body
