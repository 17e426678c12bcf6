"""Check the signature by which a TLS server proves that it holds its certificate's key.

Whether the certificate can be trusted is not asked here: that is the browser's verdict.
Source: RFC 8446 sections 4.2.3 and 4.4.3, RFC 5246 section 7.4.3.
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.utils import CryptographyDeprecationWarning

from archiver.capture.recorder.tls_facts import SignatureCheck

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - old TLS 1.2 servers sign with it; the algorithm is in the facts
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}

SCHEMES = {
    0x0201: "rsa_pkcs1_sha1",
    0x0203: "ecdsa_sha1",
    0x0401: "rsa_pkcs1_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
}


def check_signature(leaf: bytes, scheme: int, signature: bytes, signed: bytes) -> SignatureCheck:
    """Check *signature* over *signed* with the key of the certificate *leaf* (DER).

    Returns:
        ``valid`` None when the certificate or the scheme is not one that can be checked here.
    """
    name = SCHEMES.get(scheme)
    if name is None:
        return SignatureCheck(None, f"0x{scheme:04x}", "the signature scheme is not known here")
    try:
        with warnings.catch_warnings():
            # what is odd in a stranger's certificate is no business of our standard error
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            key = x509.load_der_x509_certificate(leaf).public_key()
        _verify(key, name, signature, signed)
    except InvalidSignature:
        return SignatureCheck(False, name, "the signature does not match the certificate's key")
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        return SignatureCheck(None, name, f"the certificate's key cannot be used: {error}")
    return SignatureCheck(True, name, "")


def _verify(key: object, name: str, signature: bytes, signed: bytes) -> None:
    family, _, rest = name.partition("_")
    digest = HASHES.get(rest.rpartition("_")[2] or rest)
    if isinstance(key, rsa.RSAPublicKey) and family == "rsa" and digest:
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        key.verify(signature, signed, pss if "pss" in rest else padding.PKCS1v15(), digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and family == "ecdsa" and digest:
        key.verify(signature, signed, ec.ECDSA(digest))
    elif (isinstance(key, ed25519.Ed25519PublicKey) and name == "ed25519") or (
        isinstance(key, ed448.Ed448PublicKey) and name == "ed448"
    ):
        key.verify(signature, signed)
    else:
        raise ValueError(f"expected a key for {name}, got {type(key).__name__}")
