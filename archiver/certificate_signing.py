"""Signing records with an organisation's X.509 certificate, a second time beside the key: CAdES-T by pyHanko.

The setting ``certificate`` names a PKCS#12 file, or a key in a token by a ``pkcs11:`` address (RFC 7512)::

    pkcs11:token=evidence;object=seal?module-path=/usr/lib/softhsm/libsofthsm2.so

CAdES-T carries a timestamp of its own, so an authority is asked once for each capture, and not once for each
batch: whoever sets a certificate has chosen that. What was made is verified by the trust file of this
installation before it is stored. A person's own certificate does not belong here: it names them.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asn1crypto import tsp
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import Signer, SimpleSigner
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes
from pyhanko.sign.timestamps import TimeStamper, TimestampRequestError

from archiver.errors import EnvironmentUnfit, UsageError
from manifests.certificate_signature import (
    CERTIFICATE_REVOCATION,
    CERTIFICATE_SIGNATURE,
    CERTIFICATE_TSA_REVOCATION,
    CertificateVerdict,
    verify_certificate_signature,
)
from manifests.findings import Code, Severity
from manifests.http_fetch import FetchError, fetch
from manifests.revocation import encode_answers
from manifests.timestamps import MAX_CLOCK_OFFSET_S
from manifests.trust import Trust, TrustedAuthority
from manifests.tsa_client import TsaUnavailable, fetch_answers
from manifests.tsa_token import MAX_REPLY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE_BYTES = 256 * 1024
HASH = "sha256"
_TOKEN_HINT = "pip install 'archiver[pkcs11]', and check module-path, token, object and PIN"  # noqa: S105  no secret
_NO_ANSWERS = encode_answers([])


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """Signs with the key of one certificate.

    Args:
        signer: pyHanko's holder of the key.
        name: What to call it in an error.
    """

    signer: Signer
    name: str

    def sign(self, record: bytes, trust: Trust) -> dict[str, bytes]:
        """Sign *record*, and return the files of the second signature by their names in the seal.

        Raises:
            TsaUnavailable: None of the authorities gave a token that proves a time.
            EnvironmentUnfit: E198, this installation's trust file does not take the certificate.
        """
        failure = TsaUnavailable("any", "expected a trusted one, got none")
        for authority in trust.authorities:
            try:
                return self._sign(record, trust, authority)
            except TsaUnavailable as error:
                failure = error
        raise failure

    def _sign(self, record: bytes, trust: Trust, authority: TrustedAuthority) -> dict[str, bytes]:
        asked_at = datetime.now(UTC)
        try:
            made = asyncio.run(
                self.signer.async_sign_general_data(
                    record,
                    HASH,
                    use_cades=True,
                    timestamper=AuthorityStamper(authority),
                    signed_attr_settings=PdfCMSSignedAttributes(),
                )
            )
        except (FetchError, TimestampRequestError, ValueError) as error:
            raise TsaUnavailable(authority.name, str(error)) from error
        except (SigningError, RuntimeError) as error:  # PKCS11Error is a RuntimeError
            raise self._unfit("a key that signs", str(error)) from error
        data: bytes = made.dump()
        files = {
            CERTIFICATE_SIGNATURE: data,
            CERTIFICATE_REVOCATION: _NO_ANSWERS,
            CERTIFICATE_TSA_REVOCATION: _NO_ANSWERS,
        }
        verdict = self._checked(record, files, trust, authority, asked_at)
        return files | {
            CERTIFICATE_REVOCATION: encode_answers(fetch_answers(verdict.chain)),
            CERTIFICATE_TSA_REVOCATION: encode_answers(fetch_answers(verdict.tsa_chain)),
        }

    def _checked(
        self,
        record: bytes,
        files: Mapping[str, bytes],
        trust: Trust,
        authority: TrustedAuthority,
        asked_at: datetime,
    ) -> CertificateVerdict:
        offset = timedelta(seconds=MAX_CLOCK_OFFSET_S)
        verdict = verify_certificate_signature(
            record,
            files[CERTIFICATE_SIGNATURE],
            trust,
            revocation_file=files[CERTIFICATE_REVOCATION],
            tsa_revocation_file=files[CERTIFICATE_TSA_REVOCATION],
            captured_at=asked_at - offset,
            now=datetime.now(UTC) + offset,
        )
        wrong = next((one for one in verdict.findings if one.code.severity is not Severity.NOTE), None)
        if wrong is None:
            return verdict
        if wrong.code.name.startswith("TIMESTAMP"):
            raise TsaUnavailable(authority.name, str(wrong))
        expected = "one of the trust file" if wrong.code is Code.CERTIFICATE_UNKNOWN else "one that may sign"
        raise self._unfit(expected, str(wrong))

    def _unfit(self, expected: str, got: str) -> EnvironmentUnfit:
        return EnvironmentUnfit(
            f"certificate {self.name}: expected {expected}, got {got}",
            code="E198",
            hint="trust it with `archiver trust add-certificate`, or take the setting `certificate` out",
        )


class AuthorityStamper(TimeStamper):
    """Asks one authority as everything else here asks: bounded, and following no redirect."""

    def __init__(self, authority: TrustedAuthority) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # pyHanko has no types
        self._authority = authority

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """Send a query and return what came back, which the caller checks."""
        query = req.dump()
        reply = fetch(self._authority.url, query, "application/timestamp-query", MAX_REPLY_BYTES)
        return tsp.TimeStampResp.load(reply)


def open_certificate(address: str, passphrase: str) -> CertificateSigner:
    """Open the key of a certificate.

    Args:
        address: A PKCS#12 file, or ``pkcs11:``; see the module.
        passphrase: Of the file, or the token's PIN.

    Raises:
        UsageError: E196, the file or the token does not give a certificate and its key.
    """
    if address.startswith("pkcs11:"):
        return _open_token(address, passphrase)
    path = Path(address)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        signer = SimpleSigner.load_pkcs12_data(data, other_certs=[], passphrase=passphrase.encode() or None)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "another, or another passphrase"
        raise UsageError(
            f"certificate {path.name}: expected a PKCS#12 file with certificate and key, got {reason}",
            code="E196",
            hint="`openssl pkcs12 -info -noout -in FILE` must accept it with the same passphrase",
        ) from error
    return CertificateSigner(signer, path.name)


def _open_token(address: str, pin: str) -> CertificateSigner:
    parts = urllib.parse.urlsplit(address)
    where = dict(pair.partition("=")[::2] for pair in urllib.parse.unquote(parts.path).split(";"))
    module = urllib.parse.parse_qs(parts.query).get("module-path", [""])[0]
    if not module or not {"token", "object"} <= where.keys():
        raise UsageError(
            "certificate pkcs11: expected pkcs11:token=NAME;object=LABEL?module-path=FILE, got another",
            code="E196",
            hint="see the head of archiver/certificate_signing.py",
        )
    return CertificateSigner(_token_signer(module, where["token"], where["object"], pin), "of the token")


def _token_signer(module: str, token: str, label: str, pin: str) -> Any:
    try:
        from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415  an optional library
        from pyhanko.config.pkcs11 import TokenCriteria  # noqa: PLC0415
        from pyhanko.sign.pkcs11 import PKCS11Signer, open_pkcs11_session  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"certificate pkcs11: expected the library for tokens, got none: {error}",
            code="E196",
            hint=_TOKEN_HINT,
        ) from error
    try:
        session = open_pkcs11_session(module, token_criteria=TokenCriteria(label=token), user_pin=pin)
        signer = PKCS11Signer(session, cert_label=label, key_label=label, use_raw_mechanism=True)
        # Raw: many tokens, SoftHSM too, leave the hashing to the caller.
        _ = signer.signing_cert  # read now, so that an absent one is found before a run begins
    except (PKCS11Error, OSError, RuntimeError, SigningError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"certificate pkcs11: expected {label} in token {token}, got {reason}",
            code="E196",
            hint=_TOKEN_HINT,
        ) from error
    return signer
