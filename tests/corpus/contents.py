"""Small files of many kinds, made of nothing, the same on every run."""

from __future__ import annotations

import functools
import io
import random
import struct
import wave
import zipfile
import zlib

MIB = 1024 * 1024


@functools.cache
def words(size: int, seed: int = 0) -> bytes:
    """Text of exactly *size* bytes that compresses as text does."""
    rng = random.Random(seed)
    made = [
        rng.choice(["алаң", "жаңбыр", "сот", "evidence", "court", "page", "\n"]) for _ in range(size // 4)
    ]
    return " ".join(made).encode()[:size].decode(errors="ignore").encode().ljust(size, b".")


@functools.cache
def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(size).randbytes(size)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@functools.cache
def png(seed: int, side: int = 24) -> bytes:
    """A square picture of *side* pixels in one colour."""
    colour = random.Random(seed).randbytes(3)
    rows = (b"\0" + colour * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@functools.cache
def wav(seconds: int) -> bytes:
    """Noise that a browser plays: mono, 8 bits, 8 kHz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(noise(8000 * seconds))
    return out.getvalue()


@functools.cache
def zipped() -> bytes:
    """A ZIP of two files, dated like every other run's."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("a.txt", "b.txt"):
            archive.writestr(zipfile.ZipInfo(name), words(900, len(name)))
    return out.getvalue()


@functools.cache
def pdf() -> bytes:
    """One empty page, with an index of objects that is right."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%bendobj\n" % (number, one)
    start = len(out)
    out += b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out) + b"trailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start
