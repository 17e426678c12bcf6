"""The trust file: what it says is all that is trusted, and it says nothing by accident."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess

import pytest
from crafted_tokens import ROOT_CERTIFICATE, Recipe, issue
from cryptography.hazmat.primitives.serialization import Encoding

from manifests.checkpoint import LogKey
from manifests.keys import public_line
from manifests.policy import SealPolicy
from manifests.trust import (
    Trust,
    TrustedAuthority,
    TrustedKey,
    TrustError,
    known_authorities,
    parse_trust,
    render_trust,
    root_fingerprint,
)

KEY = public_line(bytes(range(32)))
PEM = ROOT_CERTIFICATE.public_bytes(Encoding.PEM).decode()
TEXT = f"""format = "evidence-trust/1"
[[keys]]
principal = "evidence@example.org"
public_key = "{KEY}"
valid_after = 2026-01-01T00:00:00Z
[[authorities]]
known = "digicert"
[[authorities]]
name = "our-tsa"
url = "https://tsa.example.org/"
root_sha256 = "{root_fingerprint(ROOT_CERTIFICATE)}"
root_pem = '''{PEM}'''
policies = ["1.2.3.4"]
[[logs]]
verifier_key = "{LogKey("example.org/evidence", bytes(32)).verifier_key}"
[policy]
tokens_required = 2
"""


def test_file_says_what_is_trusted():
    """Keys, authorities, logs and policy are read as written; what is left out has its default."""
    trust = parse_trust(TEXT.encode())
    (key,) = trust.keys
    assert (key.principal, key.public_key) == ("evidence@example.org", bytes(range(32)))
    assert (key.valid_after, key.valid_before) == (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None)
    assert [each.name for each in trust.authorities] == ["digicert", "our-tsa"]
    assert trust.authority("our-tsa").policies == {"1.2.3.4"}
    assert trust.authority("sectigo") is None
    assert trust.policy == SealPolicy(tokens_required=2)


def test_rendered_file_reads_back():
    """What is rendered is read back to the same value, odd names included."""
    trust = parse_trust(TEXT.encode())
    moments = [dt.datetime(2027, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3)]
    odd = TrustedKey("пров'ерка\\x", bytes(32), *moments)
    authority = TrustedAuthority(
        "x", 'http://h/?a="b"', ROOT_CERTIFICATE, frozenset({"1.2", "1.3"}), "http://p/"
    )
    trust = Trust(
        (*trust.keys, odd), (*trust.authorities, authority), trust.logs, SealPolicy(stamp_each=True)
    )
    assert parse_trust(render_trust(trust).encode()) == trust


def test_nothing_is_trusted_by_default():
    """An empty trust file trusts no key, no authority and no log."""
    assert parse_trust(b'format = "evidence-trust/1"') == Trust()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("evidence-trust/1", "evidence-trust/2"),
        ('format = "evidence-trust/1"\n', ""),
        ("[policy]", "[policy"),
        ("[policy]", "[polizy]"),
        ("[[keys]]", "[[keyz]]"),
        ("tokens_required = 2", "tokens_required = 0"),
        ("tokens_required = 2", "tokens_required = 2.0"),
        ("tokens_required = 2", 'tokens_required = "2"'),
        ("tokens_required = 2", "tokens_reqired = 2"),
        ("tokens_required = 2", "max_stamp_delay_s = 0"),
        ("evidence@example.org", "evidence example"),
        ("evidence@example.org", "*@example.org"),
        ("evidence@example.org", ""),
        ("ssh-ed25519", "ssh-rsa"),
        ("00:00:00Z", "00:00:00"),
        ("00:00:00Z", "00:00:00+05:00"),
        ("00:00:00Z", "00:00:00.5Z"),
        ('"digicert"', '"digisert"'),
        ('known = "digicert"', 'known = "digicert"\nurl = "http://evil.example/"'),
        ('known = "digicert"', 'known = "digicert"\n[[authorities]]\nknown = "digicert"'),
        ("our-tsa", "digicert"),
        ("our-tsa", "../x"),
        ("our-tsa", ""),
        ("https://tsa", "file://tsa"),
        (root_fingerprint(ROOT_CERTIFICATE), "0" * 64),
        (PEM, PEM + PEM),
        (PEM, "junk"),
        ("+AQ", "+AR"),
        (
            "[[logs]]",
            f'[[logs]]\nverifier_key = "{LogKey("example.org/evidence", b"x" * 32).verifier_key}"\n[[logs]]',
        ),
    ],
    ids=lambda _: "case",  # keys are new in every run, and parallel workers must agree on names
)
def test_bad_files_are_refused(old, new):
    """A wrong format, word, type, pin, name, time, or an entry given twice: the whole file is refused."""
    assert old in TEXT
    with pytest.raises(TrustError):
        parse_trust(TEXT.replace(old, new, 1).encode())


def test_intermediate_is_no_root():
    """Only a root can be pinned: a certificate that another issued ends no chain."""
    lower = issue(Recipe("lower", issuer=issue(Recipe("upper", ca=True)), ca=True)).certificate
    pem = lower.public_bytes(Encoding.PEM).decode()
    text = TEXT.replace(PEM, pem).replace(root_fingerprint(ROOT_CERTIFICATE), root_fingerprint(lower))
    with pytest.raises(TrustError, match="expected a root"):
        parse_trust(text.encode())


@pytest.mark.parametrize("text", [b"\xff", b"\0", b"x" * (1024 * 1024 + 1), b"a=" + b"[" * 5000])
def test_junk_is_refused(text):
    """Bytes that are no TOML, or too many, are refused without a traceback."""
    with pytest.raises(TrustError):
        parse_trust(text)


def test_known_authorities_are_pinned():
    """Each shipped root is self-signed, still valid, and has the fingerprint that openssl computes."""
    for name, authority in known_authorities().items():
        root = authority.root
        assert root.issuer == root.subject
        assert root.not_valid_after_utc > dt.datetime(2026, 11, 24, tzinfo=dt.UTC), name
        command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
        shown = subprocess.run(
            command, input=root.public_bytes(Encoding.PEM), capture_output=True, check=True
        )
        printed = shown.stdout.decode().strip().split("=")[1].replace(":", "").lower()
        assert (
            printed == root_fingerprint(root) == hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
        )
