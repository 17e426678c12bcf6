"""Key derivation by published vectors, and records that are not genuine."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from archiver.capture.recorder.tls_ciphers import (
    SUITES,
    Tls12AeadCipher,
    Tls12CbcCipher,
    Tls13Cipher,
    expand_label,
    prf,
    suite_by_number,
)
from archiver.capture.recorder.tls_messages import TlsError

HEADER = bytes.fromhex("170303")


def test_rfc_8448_keys():
    """Record key and IV of RFC 8448 section 3 come from its client handshake secret."""
    secret = bytes.fromhex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21")
    assert expand_label(secret, b"key", 16, "sha256").hex() == "dbfaa693d1762c5b666af5d950258d01"
    assert expand_label(secret, b"iv", 12, "sha256").hex() == "5bd3c71b836e0b76bb73265f"


def test_prf_vector():
    """The TLS 1.2 PRF gives the vector that was published for SHA-256 on the TLS working group's list."""
    secret, seed = "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c"
    found = prf(bytes.fromhex(secret), b"test label" + bytes.fromhex(seed), 100, "sha256").hex()
    assert found.startswith("e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a")
    assert found.endswith("87347b66")


def test_parts_of_suites():
    """Each suite's parts follow from its name."""
    gcm, ccm8, cbc = (suite_by_number(number) for number in (0x1302, 0xC0AE, 0xC028))
    assert (gcm.is_tls13, gcm.key_bytes, gcm.hash_name) == (True, 32, "sha384")
    assert (ccm8.exchange, ccm8.mode, ccm8.key_bytes, ccm8.hash_name) == ("ECDHE", "CCM_8", 16, "sha256")
    assert (cbc.mac_name, cbc.mac_bytes, cbc.salt_bytes, cbc.hash_name) == ("sha384", 48, 0, "sha384")
    assert suite_by_number(0x002F).mac_name == "sha1"
    assert all(suite_by_number(number).name == name for number, name in SUITES.items())


@pytest.mark.parametrize("number", [0, 0x0004, 0x000A, 0x1306, 0x1A1A, 0xFFFF, 0xC0A8])
def test_other_suites_are_refused(number):
    """A suite outside the table is refused by number."""
    with pytest.raises(TlsError, match=rf"got 0x{number:04x} \[E524\]"):
        suite_by_number(number)


CIPHERS = {
    "1.3 gcm": lambda: Tls13Cipher(suite_by_number(0x1301), bytes(32)),
    "1.3 ccm8": lambda: Tls13Cipher(suite_by_number(0x1305), bytes(32)),
    "1.2 gcm": lambda: Tls12AeadCipher(suite_by_number(0xC02F), bytes(16), bytes(4)),
    "1.2 ccm8": lambda: Tls12AeadCipher(suite_by_number(0xC0AE), bytes(16), bytes(4)),
    "1.2 chacha": lambda: Tls12AeadCipher(suite_by_number(0xCCA8), bytes(32), bytes(12)),
    "cbc": lambda: Tls12CbcCipher(suite_by_number(0x002F), bytes(16), bytes(20), mac_outside=False),
    "cbc etm": lambda: Tls12CbcCipher(suite_by_number(0x002F), bytes(16), bytes(20), mac_outside=True),
    "cbc sha384": lambda: Tls12CbcCipher(suite_by_number(0xC028), bytes(32), bytes(48), mac_outside=False),
}


@pytest.mark.parametrize("name", CIPHERS)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 16, 24, 31, 32, 48, 52, 64, 68, 200, 18432])
def test_foreign_records_are_refused(name, length):
    """A record that the key did not make is refused at any length, also shorter than a tag."""
    header = HEADER + length.to_bytes(2, "big")
    with pytest.raises(TlsError, match=r"record: expected one that its key authenticates, got another"):
        CIPHERS[name]().open(header, bytes(length))


def cbc_record(content, *, padding, mac_flip=0):
    """A TLS 1.2 record of an all-zero key, with any padding."""
    mac = bytearray(
        hmac.digest(bytes(20), bytes(8) + HEADER + len(content).to_bytes(2, "big") + content, "sha1")
    )
    mac[3] ^= mac_flip
    encryptor = Cipher(algorithms.AES(bytes(16)), modes.CBC(bytes(16))).encryptor()
    return bytes(16) + encryptor.update(content + bytes(mac) + padding) + encryptor.finalize()


def test_cbc_record():
    """A CBC record opens with the shortest and with the longest padding."""
    record = cbc_record(b"a" * 11, padding=b"\x00")
    assert CIPHERS["cbc"]().open(HEADER, record) == (23, b"a" * 11)
    record = cbc_record(b"a" * 11, padding=b"\xf0" * 241)
    assert CIPHERS["cbc"]().open(HEADER, record) == (23, b"a" * 11)


@pytest.mark.parametrize(
    "record",
    [
        cbc_record(b"a" * 11, padding=b"\x00", mac_flip=1),
        cbc_record(b"a" * 10, padding=b"\x02\x01"),
        cbc_record(b"a" * 11, padding=b"\xff"),
        cbc_record(b"a" * 11, padding=b"\x1f"),
        cbc_record(b"a" * 11, padding=b"\x00")[:-1],
        cbc_record(b"a" * 11, padding=b"\x00")[:16],
    ],
    ids=[
        "mac",
        "padding bytes",
        "padding past the record",
        "padding into the mac",
        "half a block",
        "no block",
    ],
)
def test_bad_cbc_is_refused(record):
    """Wrong MAC, wrong padding and wrong lengths are all refused."""
    with pytest.raises(TlsError, match=r"\[E525\]"):
        CIPHERS["cbc"]().open(HEADER, record)
