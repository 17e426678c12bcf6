"""Timestamp tokens that no honest authority would make: every field can be chosen. Made with asn1crypto."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime(2026, 11, 24, 9, 0, tzinfo=dt.UTC)
POLICY = "1.3.6.1.4.1.32473.1"
DAY = dt.timedelta(days=1)


@dataclass
class Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass
class Recipe:
    """What to put into a certificate; the defaults make a good one."""

    name: str = "signer"
    issuer: Issued | None = None
    ca: bool = False
    eku: list[x509.ObjectIdentifier] | None = field(
        default_factory=lambda: [ExtendedKeyUsageOID.TIME_STAMPING]
    )
    eku_critical: bool = True
    not_before: dt.datetime = NOW - 300 * DAY
    not_after: dt.datetime = NOW + 300 * DAY
    hashing: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
    path_length: int | None = None
    crl_url: str = ""


def issue(recipe: Recipe) -> Issued:
    key = recipe.key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, recipe.name)])
    issuer_name = recipe.issuer.certificate.subject if recipe.issuer else name
    builder = x509.CertificateBuilder(issuer_name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(recipe.not_before).not_valid_after(recipe.not_after)
    limits = x509.BasicConstraints(recipe.ca, recipe.path_length if recipe.ca else None)
    builder = builder.add_extension(limits, critical=True)
    if not recipe.ca and recipe.eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(recipe.eku), critical=recipe.eku_critical)
    if recipe.crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(recipe.crl_url)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    signing_key = recipe.issuer.key if recipe.issuer else key
    return Issued(builder.sign(signing_key, recipe.hashing), key)


def authority() -> tuple[Issued, Issued]:
    """A root and a signer under it."""
    root = issue(Recipe("root", ca=True))
    return root, issue(Recipe(issuer=root))


@dataclass
class Craft:
    """What to put into a token; the defaults make a good one over ``b"data"``."""

    data: bytes = b"data"
    gen_time: dt.datetime | str = NOW
    accuracy: dict[str, int] | None = field(default_factory=lambda: {"seconds": 1})
    policy: str = POLICY
    nonce: int | None = 7
    hash_name: str = "sha256"
    signer_digest: str = "sha256"
    named: str = "v2"
    named_digest: bytes | None = None
    status: str = "granted"
    certificates: list[x509.Certificate] | None = None
    content_type: str = "tst_info"
    extensions: bool = False
    imprint: bytes = b""


def craft(signer: Issued, recipe: Craft) -> bytes:
    """The reply that *recipe* describes, signed by *signer*."""
    content = _tst_info(recipe).dump()
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": [recipe.content_type]}),
            cms.CMSAttribute(
                {"type": "message_digest", "values": [hashlib.new(recipe.signer_digest, content).digest()]}
            ),
            *_named(signer.certificate, recipe),
        ]
    )
    hashing = {"sha256": hashes.SHA256, "sha1": hashes.SHA1, "sha512": hashes.SHA512}[recipe.signer_digest]()
    loaded = asn1_x509.Certificate.load(signer.certificate.public_bytes(Encoding.DER))
    signer_info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                {"issuer": loaded.issuer, "serial_number": loaded.serial_number},
            ),
            "digest_algorithm": {"algorithm": recipe.signer_digest},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": f"{recipe.signer_digest}_ecdsa"},
            "signature": signer.key.sign(attributes.untag().dump(), ec.ECDSA(hashing)),
        }
    )
    shown = [signer.certificate] if recipe.certificates is None else recipe.certificates
    signed = cms.SignedData(
        {
            "version": "v3",
            "digest_algorithms": [{"algorithm": recipe.signer_digest}],
            "encap_content_info": {
                "content_type": recipe.content_type,
                "content": core.ParsableOctetString(content),
            },
            "certificates": [asn1_x509.Certificate.load(each.public_bytes(Encoding.DER)) for each in shown],
            "signer_infos": [signer_info],
        }
    )
    token = cms.ContentInfo({"content_type": "signed_data", "content": signed})
    return tsp.TimeStampResp({"status": {"status": recipe.status}, "time_stamp_token": token}).dump()


def _tst_info(recipe: Craft) -> tsp.TSTInfo:
    fields = {
        "version": "v1",
        "policy": recipe.policy,
        "message_imprint": {
            "hash_algorithm": {"algorithm": recipe.hash_name},
            "hashed_message": recipe.imprint or hashlib.new(recipe.hash_name, recipe.data).digest(),
        },
        "serial_number": 42,
        "gen_time": core.GeneralizedTime(recipe.gen_time),
    }
    if recipe.accuracy is not None:
        fields["accuracy"] = recipe.accuracy
    if recipe.nonce is not None:
        fields["nonce"] = recipe.nonce
    if recipe.extensions:
        extension = {"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\x00"}
        fields["extensions"] = [extension]
    return tsp.TSTInfo(fields)


def _named(certificate: x509.Certificate, recipe: Craft) -> list[cms.CMSAttribute]:
    der = certificate.public_bytes(Encoding.DER)
    named = []
    if "v1" in recipe.named:
        digest = recipe.named_digest or hashlib.sha1(der).digest()
        value = tsp.SigningCertificate({"certs": [{"cert_hash": digest}]})
        named.append(cms.CMSAttribute({"type": "signing_certificate", "values": [value]}))
    if "v2" in recipe.named:
        digest = recipe.named_digest or hashlib.sha256(der).digest()
        algorithm = algos.DigestAlgorithm({"algorithm": "sha256"})
        value = tsp.SigningCertificateV2({"certs": [{"hash_algorithm": algorithm, "cert_hash": digest}]})
        named.append(cms.CMSAttribute({"type": "signing_certificate_v2", "values": [value]}))
    return named


def request(
    data: bytes = b"data", *, nonce: int | None = 7, policy: str = "", hash_name: str = "sha256"
) -> bytes:
    """The query that a crafted token answers."""
    fields = {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": hash_name},
            "hashed_message": hashlib.new(hash_name, data).digest(),
        },
        "cert_req": True,
    }
    if nonce is not None:
        fields["nonce"] = nonce
    if policy:
        fields["req_policy"] = policy
    return tsp.TimeStampReq(fields).dump()


ROOT_CERTIFICATE = issue(Recipe("a root", ca=True)).certificate
