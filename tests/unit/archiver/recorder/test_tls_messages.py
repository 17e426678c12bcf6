"""Handshake messages: what is well formed is read, anything else is a TlsError and nothing worse."""

from __future__ import annotations

import contextlib
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tls_forge import client_hello, extension, message, number, server_hello, vector

from archiver.capture.recorder.tls_certificates import (
    CertificateMessage,
    decompress_certificate,
    ocsp_response,
)
from archiver.capture.recorder.tls_messages import (
    MAX_MESSAGE_BYTES,
    Assembler,
    ClientHello,
    ServerHello,
    ServerKeyExchange,
    TlsError,
    alert_name,
    group_name,
    new_ticket,
)

RANDOM = bytes(range(32))
SNI = extension(0, vector(b"\0" + vector(b"evidence.example", 2), 2))
PSK = extension(41, vector(vector(b"ticket", 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2))
HELLO = client_hello(RANDOM, SNI, PSK)[4:]
COMPRESSORS = {1: zlib.compress, 2: brotli.compress, 3: zstandard.compress}


def compressed(method, data, length=None):
    body = COMPRESSORS.get(method, bytes)(data)
    return number(method, 2) + number(len(data) if length is None else length, 3) + vector(body, 3)


def test_client_hello():
    """The fields of a ClientHello are those written into it."""
    hello = ClientHello.parse(HELLO)
    assert (hello.random, hello.server_name, hello.psk_identities) == (
        RANDOM,
        "evidence.example",
        [b"ticket"],
    )
    assert ClientHello.parse(client_hello(RANDOM)[4:]).server_name is None


@pytest.mark.parametrize("parse", [ClientHello.parse, ServerHello.parse, CertificateMessage.parse_13])
@given(data=st.binary(max_size=200))
def test_any_bytes(parse, data):
    """Random bytes are read or refused with TlsError, never with another exception."""
    with contextlib.suppress(TlsError):
        parse(data)


@pytest.mark.parametrize("cut", range(34, len(HELLO)))
def test_cut_client_hello_is_refused(cut):
    """A ClientHello that ends early is refused wherever it ends, save where RFC 8446 lets it end."""
    if HELLO[:cut] == client_hello(RANDOM)[4:-2]:
        return
    with pytest.raises(TlsError, match=r"client hello: .* \[E521\]"):
        ClientHello.parse(HELLO[:cut])


def test_hostile_name_is_shown_escaped():
    """A server name that is no ASCII is shown escaped and never raises."""
    name = extension(0, vector(b"\0" + vector(b"\xff\x00\xe4", 2), 2))
    assert ClientHello.parse(client_hello(RANDOM, name)[4:]).server_name == "\\xff\x00\\xe4"


@pytest.mark.parametrize(
    "hello",
    [
        client_hello(RANDOM, SNI, SNI)[4:],
        client_hello(RANDOM, SNI[:-1])[4:],
        client_hello(RANDOM, b"\0")[4:],
    ],
    ids=["extension twice", "extension cut", "half a number"],
)
def test_bad_extensions_are_refused(hello):
    """Extensions that are double or cut are refused."""
    with pytest.raises(TlsError, match=r"\[E521\]"):
        ClientHello.parse(hello)


def test_server_hello():
    """The version of a ServerHello is the one in its extension; a retry is known by its random."""
    share = extension(51, b"\x11\xec" + vector(b"share", 2))
    hello = ServerHello.parse(server_hello(RANDOM, share, extension(41, b"\0\1"))[4:])
    assert (hello.version, hello.group, hello.psk_index, hello.is_retry) == (
        0x0304,
        "X25519MLKEM768",
        1,
        False,
    )
    assert ServerHello.parse(server_hello(RANDOM, version=0x0303)[4:]).version == 0x0303


def test_assembler_puts_fragments_together():
    """Messages cut and joined over records come out one by one, whole."""
    assembler, found = Assembler(), []
    data = message(1, b"a" * 300) + message(2, b"") + message(11, b"b")
    for at in range(0, len(data), 7):
        assembler.add(data[at : at + 7])
        while (each := assembler.next()) is not None:
            found.append((each.kind, each.body))
    assert found == [(1, b"a" * 300), (2, b""), (11, b"b")]
    assert assembler.partial_bytes == 0


def test_huge_message_is_refused_by_its_header():
    """A message that announces more than the limit is refused before it is held."""
    assembler = Assembler()
    assembler.add(b"\x0b" + number(MAX_MESSAGE_BYTES + 1, 3))
    with pytest.raises(TlsError, match=r"at most 262144 bytes, got 262145 \[E522\]"):
        assembler.next()


@pytest.mark.parametrize("method", COMPRESSORS)
def test_compressed_certificate(method):
    """What zlib, brotli and zstd compressed comes out as it went in."""
    assert decompress_certificate(compressed(method, b"certificate" * 500)) == b"certificate" * 500


@pytest.mark.parametrize("method", COMPRESSORS)
@pytest.mark.parametrize("length", [0, 5499, 5501, MAX_MESSAGE_BYTES])
def test_wrong_length_is_refused(method, length):
    """A certificate that is not as long as announced is refused."""
    with pytest.raises(TlsError, match=r"compressed certificate: expected \d+ bytes, got \d+"):
        decompress_certificate(compressed(method, b"certificate" * 500, length))


@pytest.mark.parametrize("method", COMPRESSORS)
def test_bomb_is_refused(method):
    """A bomb of 64 MiB behind a small announced length stops at that length."""
    with pytest.raises(TlsError, match=r"expected 1000 bytes, got 1001 or more \[E523\]"):
        decompress_certificate(compressed(method, bytes(64 << 20), 1000))


@pytest.mark.parametrize("method", COMPRESSORS)
def test_announced_bomb_is_refused(method):
    """More than the limit is refused before anything is decompressed."""
    with pytest.raises(TlsError, match=r"at most 262144 bytes, got 262145 \[E522\]"):
        decompress_certificate(compressed(method, bytes(MAX_MESSAGE_BYTES + 1)))


@pytest.mark.parametrize("method", [0, 1, 2, 3, 4])
def test_broken_compression_is_refused(method):
    """Data that the method cannot read, or a method that nobody knows, is refused."""
    with pytest.raises(TlsError, match=r"\[E523\]"):
        decompress_certificate(number(method, 2) + number(50, 3) + vector(b"\xffgarbage" * 3, 3))


@given(data=st.binary(max_size=300), method=st.integers(1, 3))
def test_any_compressed_bytes(data, method):
    """Random compressed bytes never raise anything but TlsError."""
    with contextlib.suppress(TlsError):
        decompress_certificate(number(method, 2) + number(40, 3) + vector(data, 3))


def test_server_key_exchange():
    """Curve, signed bytes and signature of both ephemeral exchanges are told apart."""
    curve = b"\3\0\x1d" + vector(b"p" * 32, 1)
    found = ServerKeyExchange.parse(curve + b"\x08\x04" + vector(b"sig", 2), "ECDHE")
    assert found == ServerKeyExchange(curve, "x25519", 0x0804, b"sig")
    finite = vector(b"\xff" * 256, 2) + vector(b"\2", 2) + vector(b"y", 2)
    assert ServerKeyExchange.parse(finite, "DHE") == ServerKeyExchange(finite, "dhe 2048 bits", None, b"")


@pytest.mark.parametrize("body", [b"", b"\1" + bytes(50), b"\3\0\x1d\xff", b"\3\0\x1d\0\x08\x04\0\x05abc"])
def test_bad_key_exchange_is_refused(body):
    """A key exchange that is cut or of another form is refused."""
    with pytest.raises(TlsError, match="server key exchange"):
        ServerKeyExchange.parse(body, "ECDHE")


def test_ocsp_and_tickets():
    """An OCSP staple of the one known type is taken, and a ticket of either version."""
    assert ocsp_response(b"\1" + vector(b"der", 3)) == b"der"
    assert ocsp_response(b"\2" + vector(b"der", 3)) is None
    assert new_ticket(bytes(8) + vector(b"n", 1) + vector(b"ticket", 2) + bytes(2), tls13=True) == b"ticket"
    assert new_ticket(bytes(4) + vector(b"ticket", 2), tls13=False) == b"ticket"
    with pytest.raises(TlsError, match="session ticket"):
        new_ticket(bytes(8), tls13=True)


def test_names_of_unknown_numbers():
    """A number without a name is shown as itself."""
    assert (alert_name(0), alert_name(250)) == ("close_notify", "alert 250")
    assert (group_name(0x1D), group_name(0x1234)) == ("x25519", "0x1234")
