"""The trust file: which keys, timestamp authorities and logs a verdict may rest on, and nothing else.

A TOML file that a person can read and sign off::

    format = "evidence-trust/1"

    [[keys]]
    principal = "evidence@example.org"
    public_key = "ssh-ed25519 AAAA..."
    valid_after = 2026-01-01T00:00:00Z     # optional, as are the next two
    valid_before = 2028-01-01T00:00:00Z
    revoked_at = 2027-03-01T00:00:00Z      # what is proven before this moment stays good

    [[authorities]]
    known = "digicert"                     # one of the list that ships with this package

    [[authorities]]
    name = "our-tsa"
    url = "https://tsa.example.org/"
    root_sha256 = "hex fingerprint of the root certificate"
    root_pem = '''-----BEGIN CERTIFICATE-----...'''
    policies = ["1.2.3.4.1"]               # token policies that are accepted; empty means any

    [[logs]]
    verifier_key = "example.org/evidence+abcdef12+AQ..."

    [[certificates]]                       # of organisations that sign a second time (CAdES)
    principal = "Example Foundation"
    root_sha256 = "hex fingerprint of the root certificate"
    root_pem = '''-----BEGIN CERTIFICATE-----...'''
    certificate_sha256 = "hex"             # the one certificate; or
    subject = "CN=...,O=...,C=KZ"          # any of that root for this subject (RFC 4514)
    revoked_at = 2027-03-01T00:00:00Z      # optional

    [policy]                               # see manifests.policy

Trust never comes from the evidence itself, and never from the operating system's list of roots.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from manifests.checkpoint import LogKey, parse_verifier_key
from manifests.errors import ManifestError
from manifests.findings import shown
from manifests.keys import parse_public_line, public_line
from manifests.policy import SealPolicy
from manifests.tsa_chain import UNREADABLE_CERTIFICATE

FORMAT = "evidence-trust/1"
MAX_TRUST_FILE_BYTES = 1024 * 1024
DEFAULT_POLICY = SealPolicy()


class TrustError(ManifestError):
    """The trust file cannot be used."""

    def __init__(self, what: str) -> None:
        super().__init__(f"trust file: {what}", code="E490", hint="see the head of manifests/trust.py")


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A signing key, whose it is, and when it was good.

    Args:
        principal: The holder, as a verdict names them; no spaces.
        public_key: 32 bytes, Ed25519.
        valid_after: Aware UTC, or None: from ever.
        valid_before: Aware UTC, or None: for ever.
        revoked_at: From this moment on nobody may rely on the key; None while it is good.
    """

    principal: str
    public_key: bytes
    valid_after: datetime | None = None
    valid_before: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustedAuthority:
    """A timestamp authority.

    Args:
        name: Names its files in a seal: 1 to 40 of ``a-z 0-9 -``.
        url: Where it is asked.
        root: The one root its certificates must lead to.
        policies: Dotted OIDs of token policies that are accepted; empty: any.
        policy_url: Where the authority publishes its policy text, or empty.
    """

    name: str
    url: str
    root: x509.Certificate
    policies: frozenset[str] = frozenset()
    policy_url: str = ""


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """An organisation whose X.509 certificate may sign records too.

    A root that certifies half a country vouches for nobody in it, so one of *certificate_sha256* and
    *subject* says whose certificate is meant.

    Args:
        principal: The organisation, as a verdict names it.
        root: The one root its certificate must lead to; the certificate itself where it is self-signed.
        certificate_sha256: Hex fingerprint of the one certificate, or empty.
        subject: RFC 4514 name that its certificates carry, or empty.
        revoked_at: From this moment on nobody may rely on it; None while it is good.
    """

    principal: str
    root: x509.Certificate
    certificate_sha256: str = ""
    subject: str = ""
    revoked_at: datetime | None = None

    def names(self, certificate: x509.Certificate) -> bool:
        """Whether *certificate* is the one that is meant; that it leads to the root is not looked at."""
        wanted = (self.certificate_sha256, self.subject)
        got = (root_fingerprint(certificate), certificate.subject.rfc4514_string())
        return all(one in ("", other) for one, other in zip(wanted, got, strict=True))


@dataclass(frozen=True, slots=True)
class Trust:
    """All that is trusted, and what is required."""

    keys: tuple[TrustedKey, ...] = ()
    authorities: tuple[TrustedAuthority, ...] = ()
    logs: tuple[LogKey, ...] = ()
    policy: SealPolicy = DEFAULT_POLICY
    certificates: tuple[TrustedCertificate, ...] = ()

    def authority(self, name: str) -> TrustedAuthority | None:
        """The trusted authority of that name."""
        return next((each for each in self.authorities if each.name == name), None)


class _Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    principal: str
    public_key: str
    valid_after: datetime | None = None
    valid_before: datetime | None = None
    revoked_at: datetime | None = None


class _Authority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    known: str = ""
    name: str = ""
    url: str = ""
    root_sha256: str = ""
    root_pem: str = ""
    root_file: str = ""
    policies: list[str] = []
    policy_url: str = ""


class _Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verifier_key: str


class _Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    principal: str
    root_sha256: str
    root_pem: str
    certificate_sha256: str = ""
    subject: str = ""
    revoked_at: datetime | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    keys: list[_Key] = []
    authorities: list[_Authority] = []
    certificates: list[_Certificate] = []
    logs: list[_Log] = []
    policy: SealPolicy = SealPolicy()


def parse_trust(text: bytes) -> Trust:
    """Read a trust file.

    Raises:
        TrustError: Not TOML, not this format, a pin that does not fit, or an entry given twice.
    """
    if len(text) > MAX_TRUST_FILE_BYTES:
        raise TrustError(f"size: expected at most {MAX_TRUST_FILE_BYTES} bytes, got {len(text)}")
    try:
        file = msgspec.convert(_load(text), _File)
        logs = tuple(parse_verifier_key(log.verifier_key) for log in file.logs)
        keys = tuple(_key(key) for key in file.keys)
    except (msgspec.ValidationError, ManifestError) as error:
        raise TrustError(f"contents: {shown(str(error))}") from error
    if file.format != FORMAT:
        raise TrustError(f"format: expected {FORMAT}, got {shown(file.format)}")
    authorities = tuple(_authority(each) for each in file.authorities)
    certificates = tuple(_certificate(each) for each in file.certificates)
    _refuse_twice("key", [key.public_key.hex() for key in keys])
    _refuse_twice("authority", [each.name for each in authorities])
    _refuse_twice("log", [log.origin for log in logs])
    return Trust(keys, authorities, logs, file.policy, certificates)


@cache
def known_authorities() -> dict[str, TrustedAuthority]:
    """The public authorities whose roots ship with this package, by name. None is trusted until chosen."""
    folder = importlib.resources.files("manifests") / "tsa_roots"
    tables = _load((folder / "known.toml").read_bytes())["authorities"]
    known = {}
    for table in tables:
        entry = msgspec.convert(table, _Authority)
        pem = (folder / entry.root_file).read_text()
        known[entry.name] = _pinned(msgspec.structs.replace(entry, root_pem=pem))
    return known


def render_trust(trust: Trust) -> str:
    """The trust file's text for *trust*; ``parse_trust`` reads it back to the same value."""
    lines = [f'format = "{FORMAT}"']
    for key in trust.keys:
        lines += ["", "[[keys]]", f"principal = {_quoted(key.principal)}"]
        lines.append(f"public_key = {_quoted(public_line(key.public_key))}")
        for name in ("valid_after", "valid_before", "revoked_at"):
            moment = getattr(key, name)
            lines += [f"{name} = {moment:%Y-%m-%dT%H:%M:%SZ}"] if moment else []
    for authority in trust.authorities:
        lines += ["", "[[authorities]]", *_authority_lines(authority)]
    for one in trust.certificates:
        lines += ["", "[[certificates]]", *_certificate_lines(one)]
    for log in trust.logs:
        lines += ["", "[[logs]]", f"verifier_key = {_quoted(log.verifier_key)}"]
    lines += ["", "[policy]"]
    for name, value in msgspec.structs.asdict(trust.policy).items():
        lines.append(f"{name} = {str(value).lower()}")
    return "\n".join(lines) + "\n"


def _authority_lines(authority: TrustedAuthority) -> list[str]:
    if known_authorities().get(authority.name) == authority:
        return [f"known = {_quoted(authority.name)}"]
    pem = authority.root.public_bytes(Encoding.PEM).decode()
    policies = ", ".join(_quoted(policy) for policy in sorted(authority.policies))
    return [
        f"name = {_quoted(authority.name)}",
        f"url = {_quoted(authority.url)}",
        f'root_sha256 = "{root_fingerprint(authority.root)}"',
        f"root_pem = '''\n{pem}'''",
        f"policies = [{policies}]",
        f"policy_url = {_quoted(authority.policy_url)}",
    ]


def _certificate_lines(one: TrustedCertificate) -> list[str]:
    lines = [
        f"principal = {_quoted(one.principal)}",
        f'root_sha256 = "{root_fingerprint(one.root)}"',
        f"root_pem = '''\n{one.root.public_bytes(Encoding.PEM).decode()}'''",
        f'certificate_sha256 = "{one.certificate_sha256}"',
        f"subject = {_quoted(one.subject)}",
    ]
    return [*lines, f"revoked_at = {one.revoked_at:%Y-%m-%dT%H:%M:%SZ}"] if one.revoked_at else lines


def root_fingerprint(certificate: x509.Certificate) -> str:
    """Lower-case hex SHA-256 of a certificate's DER: what ``openssl x509 -fingerprint -sha256`` shows."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _load(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise TrustError(f"syntax: expected TOML, got: {shown(str(error))}") from error


def _key(entry: _Key) -> TrustedKey:
    who = f"key of {shown(entry.principal)}"
    if not entry.principal or not entry.principal.isprintable() or set(' ",*?!#') & set(entry.principal):
        raise TrustError(f"{who}: principal: expected a name without spaces or patterns, got another")
    moments = (entry.valid_after, entry.valid_before, entry.revoked_at)
    _check_moments(who, moments)
    return TrustedKey(entry.principal, parse_public_line(entry.public_key), *moments)


def _check_moments(who: str, moments: tuple[datetime | None, ...]) -> None:
    for moment in moments:
        if moment is not None and (moment.utcoffset() != timedelta(0) or moment.microsecond):
            raise TrustError(f"{who}: time: expected whole seconds in UTC (Z), got {moment.isoformat()}")


def _certificate(entry: _Certificate) -> TrustedCertificate:
    who = f"certificate of {shown(entry.principal)}"
    if not entry.principal or not entry.principal.isprintable():
        raise TrustError(f"{who}: principal: expected a name, got another")
    if not entry.certificate_sha256 and not entry.subject:
        raise TrustError(f"{who}: expected certificate_sha256 or subject, got neither")
    _check_moments(who, (entry.revoked_at,))
    root = _pinned_root(who, entry.root_pem, entry.root_sha256)
    return TrustedCertificate(
        entry.principal, root, entry.certificate_sha256, entry.subject, entry.revoked_at
    )


def _authority(entry: _Authority) -> TrustedAuthority:
    if not entry.known:
        return _pinned(entry)
    if entry != _Authority(known=entry.known):
        raise TrustError(f"authority {shown(entry.known)}: expected `known` alone, got more beside it")
    if entry.known not in known_authorities():
        names = ", ".join(known_authorities())
        raise TrustError(f"authority {shown(entry.known)}: expected one of {names}, got another")
    return known_authorities()[entry.known]


def _pinned(entry: _Authority) -> TrustedAuthority:
    who = f"authority {shown(entry.name)}"
    if not 1 <= len(entry.name) <= 40 or not set(entry.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise TrustError(f"{who}: name: expected 1 to 40 of a-z 0-9 -, got another")
    if not entry.url.startswith(("http://", "https://")):
        raise TrustError(f"{who}: url: expected http:// or https://, got {shown(entry.url)}")
    root = _pinned_root(who, entry.root_pem, entry.root_sha256)
    return TrustedAuthority(entry.name, entry.url, root, frozenset(entry.policies), entry.policy_url)


def _pinned_root(who: str, pem: str, pin: str) -> x509.Certificate:
    try:
        (root,) = x509.load_pem_x509_certificates(pem.encode())
    except UNREADABLE_CERTIFICATE as error:
        raise TrustError(f"{who}: root_pem: expected one certificate, got none or more") from error
    if root_fingerprint(root) != pin:
        got = root_fingerprint(root)
        raise TrustError(f"{who}: pin: expected {shown(pin)}, got {got}")
    if root.issuer != root.subject:
        # OpenSSL, which judges the chain a second time, takes nothing but a root for its end.
        raise TrustError(
            f"{who}: root_pem: expected a root, got one issued by {shown(root.issuer.rfc4514_string())}"
        )
    return root


def _refuse_twice(kind: str, names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TrustError(f"{kind} {shown(min(twice))}: entries: expected one, got more")


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
