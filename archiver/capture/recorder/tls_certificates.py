"""Certificate messages of TLS as values, compressed or not; nothing here asks whether to trust them.

Source: RFC 8446 section 4.4.2, RFC 5246 section 7.4.2, RFC 8879 (compression), RFC 6066 section 8 (OCSP).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import brotli
import zstandard

from archiver.capture.recorder.tls_messages import MAX_MESSAGE_BYTES, Reader, TlsError

MAX_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CertificateMessage:
    """What one side showed.

    Args:
        chain: DER of each certificate, leaf first.
        leaf_extensions: TLS 1.3 extensions of the leaf's entry: OCSP staple, SCT list.
    """

    chain: tuple[bytes, ...]
    leaf_extensions: dict[int, bytes]

    @classmethod
    def parse_13(cls, body: bytes) -> CertificateMessage:
        """RFC 8446 section 4.4.2."""
        reader = Reader(body, "certificate")
        reader.vector(1)
        entries = Reader(reader.vector(3), "certificate")
        chain: list[bytes] = []
        leaf_extensions: dict[int, bytes] = {}
        while entries.left:
            chain.append(entries.vector(3))
            extensions = entries.extensions()
            leaf_extensions = leaf_extensions if len(chain) > 1 else extensions
        return cls(tuple(chain), leaf_extensions)

    @classmethod
    def parse_12(cls, body: bytes) -> CertificateMessage:
        """RFC 5246 section 7.4.2."""
        entries = Reader(Reader(body, "certificate").vector(3), "certificate")
        chain = []
        while entries.left:
            chain.append(entries.vector(3))
        return cls(tuple(chain), {})


def decompress_certificate(body: bytes) -> bytes:
    """Return the certificate message inside a CompressedCertificate, RFC 8879 section 4.

    Raises:
        TlsError: Unknown method, broken data, or a length other than announced, at most
            ``MAX_MESSAGE_BYTES``.
    """
    reader = Reader(body, "compressed certificate")
    method, length, data = reader.number(2), reader.number(3), reader.vector(3)
    if length > MAX_MESSAGE_BYTES:
        raise TlsError(
            f"compressed certificate: expected at most {MAX_MESSAGE_BYTES} bytes, got {length}", code="E522"
        )
    try:
        plain = _decompress(method, data, length + 1)
    except (zlib.error, brotli.error, zstandard.ZstdError) as error:
        raise TlsError(
            f"compressed certificate: expected method {method} data, got {error}", code="E523"
        ) from error
    if len(plain) != length:
        raise TlsError(
            f"compressed certificate: expected {length} bytes, got {len(plain)} or more", code="E523"
        )
    return plain


def _decompress(method: int, data: bytes, limit_bytes: int) -> bytes:
    """Return at most *limit_bytes* of the decompressed *data*."""
    if method == 1:
        return zlib.decompressobj().decompress(data, limit_bytes)
    if method == 2:
        # the limit is a floor of the buffer's growth, not exact, so that more than it can come back
        return bytes(brotli.Decompressor().process(data, output_buffer_limit=limit_bytes)[:limit_bytes])
    if method == 3:
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES).stream_reader(data)
        return bytes(reader.read(limit_bytes))
    raise TlsError(f"compressed certificate: expected method 1, 2 or 3, got {method}", code="E523")


def ocsp_response(status: bytes) -> bytes | None:
    """Return the OCSP response of a CertificateStatus (RFC 6066 section 8), or None for another type."""
    reader = Reader(status, "certificate status")
    return reader.vector(3) if reader.number(1) == 1 else None
