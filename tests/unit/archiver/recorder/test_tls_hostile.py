"""Connections that are against the protocol: each is refused with the code of its kind, none interpreted."""

from __future__ import annotations

import pytest
from tls_forge import (
    CLIENT,
    SERVER,
    Forge,
    client_hello,
    extension,
    message,
    plain_record,
    server_hello,
    vector,
)
from tls_lab import refused

from archiver.capture.recorder.tls_messages import RETRY_RANDOM


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys.log"


HELLO = client_hello(bytes(32))
CLEAR = {
    "http": ([(CLIENT, b"GET / HTTP/1.1\r\n\r\n")], "E520"),
    "sslv2": ([(CLIENT, b"\x80\x2e\x01\x03\x01\x00")], "E520"),
    "record too long": ([(CLIENT, b"\x16\3\1\x48\x01")], "E520"),
    "heartbeat": ([(CLIENT, plain_record(24, b"\1"))], "E520"),
    "no version": ([(CLIENT, b"\x16\2\0\0\0")], "E520"),
    "data first": ([(CLIENT, plain_record(23, b"x"))], "E526"),
    "long alert": ([(CLIENT, plain_record(21, b"\1\0\0"))], "E526"),
    "server first": ([(SERVER, plain_record(22, server_hello(bytes(32))))], "E527"),
    "hello of the server by the client": ([(CLIENT, plain_record(22, server_hello(bytes(32))))], "E527"),
    "two hellos": ([(CLIENT, plain_record(22, HELLO + HELLO))], "E527"),
    "message too long": ([(CLIENT, plain_record(22, b"\1\xff\xff\xff"))], "E522"),
    "short hello": ([(CLIENT, plain_record(22, message(1, b"\3\3")))], "E521"),
}


@pytest.mark.parametrize("name", CLEAR)
def test_hostile_starts_are_refused(name, keys):
    """What does not begin as a TLS handshake does is refused with the code of its kind."""
    wire, code = CLEAR[name]
    assert refused(wire, keys).code == code


ANSWERS = {
    "tls 1.0": ({"version": 0x0301}, "got TLS 1.0"),
    "tls 1.1": ({"version": 0x0302}, "got TLS 1.1"),
    "ssl 3": ({"version": 0x0300}, "got SSL 3.0"),
    "unknown version": ({"version": 0x0399}, "got 0x0399"),
    "1.3 with a 1.2 suite": ({"suite": 0xC02F}, "expected a suite of TLS 1.3"),
    "1.2 with a 1.3 suite": ({"version": 0x0303}, "expected a suite of TLS 1.2"),
    "compression": ({"compression": 1}, "with method 1"),
    "unknown suite": ({"suite": 0x0004}, "got 0x0004"),
    "key that was not offered": ({"extensions": (extension(41, b"\0\0"),)}, "one of 0 pre-shared keys"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_hostile_answers_are_refused(name, keys):
    """A ServerHello that no browser would take, or that is not followed here, is refused with the reason."""
    options, reason = ANSWERS[name]
    options = dict(options)
    hello = server_hello(bytes(32), *options.pop("extensions", ()), **options)
    wire = [(CLIENT, plain_record(22, HELLO)), (SERVER, plain_record(22, hello))]
    assert reason in refused(wire, keys).message


RETRY = (SERVER, plain_record(22, server_hello(RETRY_RANDOM)))
RETRIES = {
    "two retries": ([RETRY, (CLIENT, plain_record(22, HELLO)), RETRY], "at most one retry"),
    "other client": ([RETRY, (CLIENT, plain_record(22, client_hello(bytes(31) + b"x")))], "the same again"),
    "other hash": (
        [
            RETRY,
            (CLIENT, plain_record(22, HELLO)),
            (SERVER, plain_record(22, server_hello(bytes(32), suite=0x1302))),
        ],
        "expected the hash sha256 as before the retry, got sha384",
    ),
}


@pytest.mark.parametrize("name", RETRIES)
def test_hostile_retries_are_refused(name, keys):
    """A second retry, another client's hello, or another hash after a retry is refused."""
    wire, reason = RETRIES[name]
    assert reason in refused([(CLIENT, plain_record(22, HELLO)), *wire], keys).message


EXTENSIONS = message(8, vector(b"", 2))


def clear_alert_after_keys(forge):
    forge.shake(SERVER, EXTENSIONS)
    forge.say(SERVER, plain_record(21, b"\1\0"))


def replayed_record(forge):
    forge.shake(SERVER, EXTENSIONS)
    forge.wire.append(forge.wire[-1])


def extensions_after_the_handshake(forge):
    forge.shake(SERVER, EXTENSIONS)
    forge.finish(SERVER)
    forge.finish(CLIENT)
    forge.shake(SERVER, EXTENSIONS)


MISUSES = {
    "data in the handshake": ("E526", lambda forge: forge.say(SERVER, forge.seal(SERVER, 23, b"too early"))),
    "clear handshake": ("E526", lambda forge: forge.say(SERVER, plain_record(22, EXTENSIONS))),
    "clear alert after keys": ("E526", clear_alert_after_keys),
    "only padding": ("E526", lambda forge: forge.say(SERVER, forge.seal(SERVER, 0, b"", padding=20))),
    "wrapped ccs": ("E526", lambda forge: forge.say(SERVER, forge.seal(SERVER, 20, b"\1"))),
    "verify without certificate": (
        "E528",
        lambda forge: forge.shake(SERVER, EXTENSIONS, message(15, b"\x08\x07" + vector(b"sig", 2))),
    ),
    "server key exchange": ("E528", lambda forge: forge.shake(SERVER, message(12, b""))),
    "key update in the handshake": ("E528", lambda forge: forge.shake(SERVER, message(24, b"\0"))),
    "client sends encrypted extensions": ("E528", lambda forge: forge.shake(CLIENT, EXTENSIONS)),
    "extensions after the handshake": ("E528", extensions_after_the_handshake),
    "more after finished": ("E527", lambda forge: forge.shake(SERVER, forge.finished(SERVER) + EXTENSIONS)),
    "replayed record": ("E525", replayed_record),
    "record of the other side": (
        "E525",
        lambda forge: forge.say(CLIENT, forge.seal(SERVER, 22, EXTENSIONS)),
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_refused(name, keys):
    """What is against the protocol under the right keys is refused, not interpreted."""
    code, go_on = MISUSES[name]
    forge = Forge(keys)
    forge.hello()
    go_on(forge)
    assert refused(forge.wire, keys).code == code


def test_finished_in_clear_is_refused(keys):
    """A TLS 1.2 Finished that no key protects is refused and not held for keys."""
    hello = server_hello(bytes(32), suite=0xC02F, version=0x0303)
    finished = plain_record(22, message(20, bytes(12)))
    wire = [(CLIENT, plain_record(22, HELLO)), (SERVER, plain_record(22, hello)), (SERVER, finished)]
    assert refused(wire, keys).code == "E529"


def test_two_key_changes_are_refused(keys):
    """A second change_cipher_spec of one side in TLS 1.2 is refused."""
    hello = server_hello(bytes(32), suite=0xC02F, version=0x0303)
    wire = [(CLIENT, plain_record(22, HELLO)), (SERVER, plain_record(22, hello))]
    assert refused([*wire, *[(SERVER, plain_record(20, b"\1"))] * 2], keys).code == "E529"
