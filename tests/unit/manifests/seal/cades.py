"""CAdES-T signatures of any kind, made by pyHanko; their certificates and tokens can be chosen."""

from __future__ import annotations

import asyncio
import datetime as dt

from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.sign.signers import SimpleSigner
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from manifests.certificate_signature import (
    CERTIFICATE_REVOCATION,
    CERTIFICATE_SIGNATURE,
    CERTIFICATE_TSA_REVOCATION,
)
from manifests.revocation import Answer, encode_answers
from manifests.trust import TrustedCertificate
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW, Craft, Issued, Recipe, craft, issue


def organisation(
    name: str = "Example Foundation",
    *,
    root: Issued | None = None,
    not_before: dt.datetime = NOW - 300 * DAY,
    not_after: dt.datetime = NOW + 300 * DAY,
    signs: bool = True,
    curve: ec.EllipticCurve | None = None,
) -> tuple[Issued, Issued]:
    """A root, and an organisation's certificate under it."""
    root = root or issue(Recipe("national root", ca=True))
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(signs, signs, False, False, not signs, False, False, False, False)
    builder = (
        x509.CertificateBuilder(root.certificate.subject, subject, key.public_key(), 4711)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(usage, critical=True)
    )
    return root, Issued(builder.sign(root.key, hashes.SHA256()), key)


def trusted(root: Issued, one: Issued, **facts) -> TrustedCertificate:
    pin = one.certificate.fingerprint(hashes.SHA256()).hex()
    return TrustedCertificate("Example Foundation", root.certificate, **({"certificate_sha256": pin} | facts))


class _Crafted(TimeStamper):
    def __init__(self, signer: Issued, facts: dict) -> None:
        super().__init__(include_nonce=False)
        self.signer = signer
        self.facts = facts

    async def async_timestamp(self, message_digest, md_algorithm):
        recipe = Craft(**({"nonce": None} | self.facts))
        if "data" not in self.facts:
            recipe.imprint = message_digest
        return tsp.TimeStampResp.load(craft(self.signer, recipe))["time_stamp_token"]


def cades(record: bytes, root: Issued, one: Issued, tsa: Issued, **token) -> dict[str, bytes]:
    """The files of the second signature over *record*."""
    pem = one.certificate.public_bytes(Encoding.PEM) + root.certificate.public_bytes(Encoding.PEM)
    certificate, *others = load_certs_from_pemder_data(pem)
    store = SimpleCertificateStore()
    store.register_multiple(others)
    signer = SimpleSigner(certificate, _key(one), store)
    made = asyncio.run(
        signer.async_sign_general_data(
            record,
            "sha256",
            use_cades=True,
            timestamper=_Crafted(tsa, token) if token.pop("stamped", True) else None,
            signed_attr_settings=PdfCMSSignedAttributes(),
        )
    )
    return {
        CERTIFICATE_SIGNATURE: made.dump(),
        CERTIFICATE_REVOCATION: _no_answers(one),
        CERTIFICATE_TSA_REVOCATION: _no_answers(tsa),
    }


def _key(one: Issued):
    from asn1crypto.keys import PrivateKeyInfo

    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return PrivateKeyInfo.load(one.key.private_bytes(Encoding.DER, form, none))


def _no_answers(one: Issued) -> bytes:
    mark = one.certificate.fingerprint(hashes.SHA256()).hex()
    return encode_answers([Answer(certificate_sha256=mark, kind="none", reason="made for a test")])
