"""SSHSIG signatures: made and read byte for byte as ``ssh-keygen -Y sign`` makes them.

Only Ed25519 with SHA-512, the form OpenSSH makes, is accepted: one way to sign is one way to be right.
A signature says *who*; that it is by a key which was good at the time is decided with the time that a
token proves (``verify_signature``).

Source: OpenSSH PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from manifests.findings import Code, Finding
from manifests.keys import KEY_TYPE, Signer, fingerprint, key_blob, ssh_string, verifies
from manifests.proof import ProofError, utc_text
from manifests.trust import TrustedKey

NAMESPACE = "evidence-record"
MAX_SIGNATURE_BYTES = 4 * 1024
_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_ARMOUR = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]{1,70}\n)+)-----END SSH SIGNATURE-----\n",
)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as read from its file.

    Args:
        public_key: 32 bytes; claimed, until trust says whose it is.
        namespace: What the signature is for.
        value: 64 bytes, Ed25519.
    """

    public_key: bytes
    namespace: str
    value: bytes


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What ``verify_signature`` found.

    Args:
        principal: Who signed, as the trust file names the holder of the key; None when not proven.
        key: Fingerprint of the key in the signature file, or empty.
        findings: Empty when the signature is good by a key that was good at the time.
    """

    principal: str | None
    key: str
    findings: tuple[Finding, ...]


def sign(data: bytes, signer: Signer, namespace: str = NAMESPACE) -> bytes:
    """Sign *data*; returns the text of the signature file. Raises ``KeyUnusable``."""
    value = signer.sign(_signed_bytes(data, namespace))
    return _armour(Signature(signer.public_key, namespace, value))


def parse_signature(text: bytes) -> Signature:
    """Read a signature file.

    Raises:
        ProofError: ``signature-malformed`` for anything but the exact bytes ``ssh-keygen`` would write.
    """
    found = _ARMOUR.fullmatch(text) if len(text) <= MAX_SIGNATURE_BYTES else None
    try:
        blob = base64.b64decode(found[1].replace(b"\n", b""), validate=True) if found else b""
    except (binascii.Error, ValueError):
        blob = b""
    head = _MAGIC + (1).to_bytes(4, "big") + ssh_string(key_blob(bytes(32)))[:-32]
    public_key = blob[len(head) : len(head) + 32]
    rest = blob[len(head) + 32 :]
    name_end = 4 + int.from_bytes(rest[:4], "big")
    namespace = rest[4:name_end].decode("ascii", errors="replace")
    signature = Signature(public_key, namespace, blob[-64:])
    # Rendering what was read and comparing leaves no byte of the file without a meaning.
    if not namespace.isascii() or not namespace or _armour(signature) != text:
        raise ProofError(
            Code.SIGNATURE_MALFORMED, "signature file", "SSHSIG of Ed25519 with SHA-512", "other bytes"
        )
    return signature


def verify_signature(
    data: bytes,
    signature_file: bytes | None,
    keys: Sequence[TrustedKey],
    at: datetime,
    *,
    namespace: str = NAMESPACE,
) -> SignatureVerdict:
    """Decide who signed *data*.

    1. The file is there and is an SSHSIG.
    2. Its namespace is *namespace*.
    3. The signature is that of the key in the file over *data*.
    4. The key is a trusted one.
    5. The key was valid at *at* and not yet revoked.

    Args:
        data: The signed bytes, as stored.
        signature_file: The file's bytes; None when there is none, which is a failure.
        keys: The trusted keys, with their periods.
        at: The latest moment at which the signature is proven to have existed; now, where no token
            proves an earlier one: then a key that has ended or was revoked since proves nothing.
        namespace: What the signature must be for.
    """
    subject = "record signature"
    if signature_file is None:
        return SignatureVerdict(None, "", (Finding(Code.SIGNATURE_MISSING, subject),))
    try:
        signature = parse_signature(signature_file)
    except ProofError as error:
        return SignatureVerdict(None, "", (error.finding,))
    name = fingerprint(signature.public_key)
    findings = []
    if signature.namespace != namespace:
        findings.append(Finding(Code.SIGNATURE_NAMESPACE, subject, namespace, signature.namespace))
    if not verifies(signature.public_key, signature.value, _signed_bytes(data, signature.namespace)):
        findings.append(Finding(Code.SIGNATURE_WRONG, subject, f"a signature by {name}", "another"))
    trusted = next((key for key in keys if key.public_key == signature.public_key), None)
    if trusted is None:
        findings.append(Finding(Code.SIGNATURE_KEY_UNKNOWN, subject, "a trusted key", name))
    else:
        findings.extend(_period_findings(trusted, at))
    principal = trusted.principal if trusted and not findings else None
    return SignatureVerdict(principal, name, tuple(findings))


def _period_findings(key: TrustedKey, at: datetime) -> list[Finding]:
    subject = f"signing key of {key.principal}"
    if key.revoked_at is not None and at >= key.revoked_at:
        code, limit = Code.SIGNATURE_KEY_REVOKED, f"before {utc_text(key.revoked_at)}"
    elif key.valid_before is not None and at >= key.valid_before:
        code, limit = Code.SIGNATURE_KEY_EXPIRED, f"before {utc_text(key.valid_before)}"
    elif key.valid_after is not None and at < key.valid_after:
        code, limit = Code.SIGNATURE_KEY_NOT_YET_VALID, f"from {utc_text(key.valid_after)} on"
    else:
        return []
    return [Finding(code, subject, limit, utc_text(at))]


def allowed_signers(keys: Sequence[TrustedKey], namespace: str = NAMESPACE) -> str:
    """The ``allowed_signers`` file by which ``ssh-keygen -Y verify`` decides as we do.

    A revoked key ends at its revocation: use ``-Overify-time`` with the time the token proves.
    """
    lines = []
    for key in keys:
        options = [f'namespaces="{namespace}"']
        ends = [moment for moment in (key.valid_before, key.revoked_at) if moment is not None]
        if key.valid_after is not None:
            options.append(f'valid-after="{key.valid_after:%Y%m%d%H%M%S}Z"')
        if ends:
            options.append(f'valid-before="{min(ends):%Y%m%d%H%M%S}Z"')
        blob = base64.b64encode(key_blob(key.public_key)).decode()
        lines.append(f"{key.principal} {','.join(options)} {KEY_TYPE.decode()} {blob}\n")
    return "".join(lines)


def _signed_bytes(data: bytes, namespace: str) -> bytes:
    digest = hashlib.sha512(data).digest()
    parts = (namespace.encode(), b"", _HASH, digest)
    return _MAGIC + b"".join(ssh_string(part) for part in parts)


def _armour(signature: Signature) -> bytes:
    parts = (
        key_blob(signature.public_key),
        signature.namespace.encode(),
        b"",
        _HASH,
        ssh_string(KEY_TYPE) + ssh_string(signature.value),
    )
    blob = _MAGIC + (1).to_bytes(4, "big") + b"".join(ssh_string(part) for part in parts)
    text = base64.b64encode(blob)
    lines = b"".join(text[at : at + 70] + b"\n" for at in range(0, len(text), 70))
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"
