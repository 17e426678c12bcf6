"""Signing a printed document with an organisation's certificate: PAdES baseline B-T, by pyHanko.

The signature certifies the document: whoever changes it afterwards breaks it. It carries a timestamp of the
first trusted authority that answers. Source: ETSI EN 319 142-1.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.timestamps import TimestampRequestError

from archiver.certificate_signing import AuthorityStamper, CertificateSigner
from archiver.errors import EnvironmentUnfit
from manifests.http_fetch import FetchError
from manifests.trust import Trust
from manifests.tsa_client import TsaUnavailable

FIELD = "Certification"


def sign_pdf(path: Path, signer: CertificateSigner, trust: Trust) -> None:
    """Sign the PDF at *path* in place; it stays as it was when that fails.

    Raises:
        TsaUnavailable: None of the authorities gave a token.
        EnvironmentUnfit: E227, the key does not sign, or the document cannot be signed.
    """
    failure = TsaUnavailable("any", "expected a trusted one, got none")
    for authority in trust.authorities:
        try:
            signed = asyncio.run(_signed(path.read_bytes(), signer, AuthorityStamper(authority)))
        except (FetchError, TimestampRequestError) as error:
            failure = TsaUnavailable(authority.name, str(error))
            continue
        except (SigningError, PdfError, RuntimeError, ValueError) as error:
            raise EnvironmentUnfit(
                f"document {path.name}: not signed with {signer.name}: {str(error)[:200]}",
                code="E227",
                hint="make it without --sign, and check the certificate",
            ) from error
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(signed)
        part.replace(path)
        return
    raise failure


async def _signed(data: bytes, signer: CertificateSigner, stamper: AuthorityStamper) -> bytes:
    metadata = PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter.PADES,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
    )
    out = io.BytesIO()
    pdf_signer = PdfSigner(metadata, signer.signer, timestamper=stamper)
    await pdf_signer.async_sign_pdf(IncrementalPdfFileWriter(io.BytesIO(data)), output=out)
    return out.getvalue()
