"""VERIFY.md of a bundle: how a stranger checks it with the tools of an operating system."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate

from archiver.bundle.contents import Copied
from archiver.bundle.templating import template
from manifests.keys import fingerprint
from manifests.trust import Trust


def guide(captures: Sequence[Copied], trust: Trust | None) -> str:
    """Return the text of VERIFY.md for these captures."""
    return template("VERIFY.md").render(
        captures=captures,
        trust=trust,
        fingerprint=fingerprint,
        certificate_digest=_certificate_digest,
    )


def _certificate_digest(certificate: Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()
