"""Signatures and keys: whatever is not exactly right is refused, and says for what."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import keys
from manifests.findings import Code, Severity
from manifests.keys import FileSigner, KeyUnusable
from manifests.proof import ProofError
from manifests.signing import parse_signature, sign, verify_signature
from manifests.trust import TrustedKey

NOW = dt.datetime(2026, 11, 24, 9, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SIGNER = FileSigner(Ed25519PrivateKey.generate())
OTHER = FileSigner(Ed25519PrivateKey.generate())
RECORD = b'{"format":"evidence-record/1"}'
SIGNED = sign(RECORD, SIGNER)


def trusted(**period):
    return TrustedKey("evidence@example.org", SIGNER.public_key, **period)


def codes(signature, *, data=RECORD, key=None, at=NOW):
    found = verify_signature(data, signature, [key or trusted()], at)
    assert (found.principal is None) == bool(found.findings)
    return [each.code for each in found.findings]


def test_good_signature_names_its_principal():
    """A signature by a trusted key over the very bytes says who signed."""
    found = verify_signature(RECORD, SIGNED, [trusted()], NOW)
    assert (found.principal, found.findings) == ("evidence@example.org", ())


@pytest.mark.parametrize(
    ("expected", "signature", "data"),
    [
        (Code.SIGNATURE_MISSING, None, RECORD),
        (Code.SIGNATURE_WRONG, SIGNED, RECORD + b" "),
        (Code.SIGNATURE_WRONG, SIGNED, b""),
        (Code.SIGNATURE_NAMESPACE, sign(RECORD, SIGNER, "file"), RECORD),
        (Code.SIGNATURE_NAMESPACE, sign(RECORD, SIGNER, "evidence-records"), RECORD),
        (Code.SIGNATURE_KEY_UNKNOWN, sign(RECORD, OTHER), RECORD),
        (Code.SIGNATURE_MALFORMED, b"", RECORD),
        (Code.SIGNATURE_MALFORMED, SIGNED.replace(b"\n", b"\r\n"), RECORD),
        (Code.SIGNATURE_MALFORMED, SIGNED[:-1], RECORD),
        (Code.SIGNATURE_MALFORMED, SIGNED + b"\n", RECORD),
        (Code.SIGNATURE_MALFORMED, SIGNED * 2, RECORD),
        (Code.SIGNATURE_MALFORMED, b"x" * 5000, RECORD),
    ],
)
def test_bad_signatures_are_refused(expected, signature, data):
    """Missing, malformed, over other bytes, for another purpose, by a stranger: each is told apart."""
    assert codes(signature, data=data) == [expected]


def test_stranger_is_indeterminate_never_passed():
    """A signature by an unknown key is neither refuted nor believed."""
    found = verify_signature(RECORD, sign(RECORD, OTHER), [trusted()], NOW)
    assert [each.code.severity for each in found.findings] == [Severity.INDETERMINATE]
    assert found.principal is None


@pytest.mark.parametrize(
    ("expected", "period"),
    [
        ([], {"valid_after": NOW - DAY, "valid_before": NOW + DAY}),
        ([], {"valid_after": NOW}),
        ([], {"revoked_at": NOW + DAY}),
        ([Code.SIGNATURE_KEY_NOT_YET_VALID], {"valid_after": NOW + DAY}),
        ([Code.SIGNATURE_KEY_EXPIRED], {"valid_before": NOW}),
        ([Code.SIGNATURE_KEY_EXPIRED], {"valid_before": NOW - DAY, "revoked_at": NOW + DAY}),
        ([Code.SIGNATURE_KEY_REVOKED], {"revoked_at": NOW}),
        ([Code.SIGNATURE_KEY_REVOKED], {"revoked_at": NOW - DAY, "valid_before": NOW + DAY}),
    ],
)
def test_key_must_be_good_at_the_proven_time(expected, period):
    """A key counts from its start to its end or its revocation, at the time that is proven."""
    assert codes(SIGNED, key=trusted(**period)) == expected


def test_rotation_keeps_what_was_signed_before():
    """With the old key ended and a new one begun, each is good in its own time only."""
    ring = [
        TrustedKey("evidence@example.org", SIGNER.public_key, valid_before=NOW),
        TrustedKey("evidence@example.org", OTHER.public_key, valid_after=NOW),
    ]
    old, new = sign(RECORD, SIGNER), sign(RECORD, OTHER)
    good = [(old, NOW - DAY), (new, NOW + DAY)]
    bad = [(old, NOW + DAY), (new, NOW - DAY)]
    assert all(verify_signature(RECORD, sig, ring, at).principal for sig, at in good)
    assert not any(verify_signature(RECORD, sig, ring, at).principal for sig, at in bad)


@settings(max_examples=300)
@given(
    at=st.integers(0, len(SIGNED) - 1),
    kind=st.sampled_from(["flip", "cut", "insert"]),
    byte=st.integers(1, 255),
)
def test_no_changed_byte_passes(at, kind, byte):
    """No byte of a signature file is without meaning: any change anywhere is refused."""
    changed = bytearray(SIGNED)
    if kind == "flip":
        changed[at] ^= byte
    elif kind == "cut":
        del changed[at:]
    else:
        changed.insert(at, byte)
    assert bytes(changed) == SIGNED or codes(bytes(changed)) != []


def test_other_key_types_are_malformed():
    """A signature in the same form with another key type, hash or version is refused when read."""
    blob = base64.b64decode(b"".join(SIGNED.split(b"\n")[1:-2]))
    changes = [
        (b"ssh-ed25519", b"ssh-ed25518"),
        (b"sha512", b"sha256"),
        (b"SSHSIG\0\0\0\1", b"SSHSIG\0\0\0\2"),
    ]
    for old, new in changes:
        text = base64.b64encode(blob.replace(old, new))
        lines = b"".join(text[at : at + 70] + b"\n" for at in range(0, len(text), 70))
        with pytest.raises(ProofError):
            parse_signature(b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n")


KEY = keys.new_key(b"correct horse")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"junk",
        KEY[:200],
        KEY.replace(b"b3BlbnNzaC1rZXktdjE", b"b3BlbnNzaC1rZXktdjI"),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"correct horse")
        ),
    ],
)
def test_unfit_keys_are_refused(text):
    """Junk, other formats, other kinds, and keys that lie unprotected on the disk are refused."""
    with pytest.raises(KeyUnusable):
        keys.unlock_key(text, b"correct horse")


@pytest.mark.parametrize("passphrase", [b"", b"correct horsf"])
def test_wrong_passphrase_is_refused(passphrase):
    """A key opens under its passphrase only."""
    with pytest.raises(KeyUnusable):
        keys.unlock_key(KEY, passphrase)


def test_key_without_passphrase_is_not_made():
    """An empty passphrase makes no key."""
    with pytest.raises(KeyUnusable):
        keys.new_key(b"")


def test_key_file_is_private_and_never_written_over(tmp_path):
    """A key file is 0600 from its first byte, is not replaced, and is not read when others can read it."""
    path = tmp_path / "key"
    keys.write_key_file(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.unlock_key(keys.read_key_file(path), b"correct horse")
    with pytest.raises(KeyUnusable):
        keys.write_key_file(path, b"other")
    path.chmod(0o640)
    with pytest.raises(KeyUnusable, match="0640"):
        keys.read_key_file(path)
    with pytest.raises(KeyUnusable):
        keys.read_key_file(tmp_path / "absent")


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQ", "ssh-ed25519 ÿÿ"],
)
def test_public_lines_are_strict(line):
    """Only an Ed25519 public key is read as one."""
    assert keys.parse_public_line(keys.public_line(SIGNER.public_key, "a comment")) == SIGNER.public_key
    with pytest.raises(KeyUnusable):
        keys.parse_public_line(line)
