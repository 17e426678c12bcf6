"""Fuzz the HTTP splitters: whatever both sides say, decoding ends, in bounds, and raises nothing.

``python tests/fuzz/fuzz_http.py --seconds 600`` mutates conversations at random. With atheris installed,
``python tests/fuzz/fuzz_http.py --atheris [libFuzzer options]`` is guided by coverage. An input that fails,
or takes longer than ``MAX_SECONDS``, is left in ``fuzz_http.crash`` (or where libFuzzer says).

An input is pieces of direction (1), length (2) and data: plaintext of one connection, HTTP/1 or HTTP/2 by how
the client begins.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / "tests" / "unit" / "archiver" / "recorder")]

import test_http1 as h1  # noqa: E402
import test_http2 as h2  # noqa: E402
import wire_lab as lab  # noqa: E402
from guided import by_coverage  # noqa: E402

from archiver.capture.recorder.connection import TLS_HANDSHAKE  # noqa: E402
from archiver.capture.recorder.transcript import write_transcript  # noqa: E402

MAX_SECONDS = 5
MAX_MEMORY_BYTES = 64 * 1024 * 1024


def pack(script) -> bytes:
    """Write a conversation as a fuzzing input."""
    out = b""
    for way, data in script:
        if data is None:
            out += struct.pack(">BH", way | 2, 0)
        for at in range(0, len(data or b""), 60_000):
            piece = data[at : at + 60_000]
            out += struct.pack(">BH", way, len(piece)) + piece
    return out


def unpack(data: bytes) -> list[tuple[int, bytes | None]]:
    """Read an input; the last piece may be cut, bit 1 of the direction is its end."""
    script, at = [], 0
    while at + 3 <= len(data):
        way, size = struct.unpack_from(">BH", data, at)
        script.append((way & 1, None if way & 2 else data[at + 3 : at + 3 + size]))
        at += 3 + size
    return script


def seeds(protocol: str = "") -> list[bytes]:
    """Conversations to start from: those of ``http1`` or ``http2``, or all."""
    peers = h2.Peers()
    for stream in (1, 3):
        peers.get(stream, ("accept", "*/*"), ("cookie", "a=b"))
    peers.answer(3, b"three" * 100, ("content-length", "500"))
    peers.answer(1, b"", status="304")
    push = h2.frame(h2.PUSH, 4, 1, struct.pack(">I", 2) + h2.ask())
    padded = h2.frame(h2.DATA, h2.PADDED, 1, b"\x02x\0\0")
    frames = [(0, h2.ASK), (1, h2.ANSWER + push + padded + h2.frame(h2.RST, 0, 1, bytes(4)))]
    script1 = [*h1.CONVERSATION[:4], (1, h1.CHUNKED + b"3;a\r\nabc\r\n0\r\nT: x\r\n\r\n")]
    chosen = {"http1": (h1.CONVERSATION, script1, h1.SOCKET), "http2": (peers.script, frames)}
    return [pack(each) for name, scripts in chosen.items() if protocol in ("", name) for each in scripts]


def run(folder: Path, data: bytes) -> None:
    """Decode one input and write its transcript; anything raised, or left unsaid, is a finding."""
    script = [(way, said) for way, said in unpack(data) if said is None or said]
    if next((said[0] for way, said in script if way == lab.CLIENT and said), 0) == TLS_HANDSHAKE:
        return  # not plaintext: the business of fuzz_tls
    for part in folder.glob("t.pcapng"):
        part.unlink()
    seen, decoded = lab.play(folder, *script)
    write_transcript(folder / "wire.bin", b"", folder / "t.pcapng")
    (facts,) = decoded.connections
    sent, received = (sum(len(said or b"") for side, said in script if side == way) for way in (0, 1))
    assert (facts.sent.size_bytes, facts.received.size_bytes) == (sent, received)
    assert bool(facts.error) == bool(decoded.problems)
    assert sum(len(one.response_body or b"") for one in seen) <= received
    assert sum(len(one.request_body or b"") for one in seen) <= sent
    for one in seen:
        assert isinstance(one.exchange.status, int | None)
        assert one.exchange.started_at_ns <= one.exchange.finished_at_ns
        assert facts.protocol == "h2" or b"\0" not in one.exchange.url.encode() or b"\0" in data


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Return *data* with a few places changed."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) or 1)
        act = rng.randrange(6)
        if act == 0 and changed:
            changed[at] = rng.choice((0, 1, 10, 13, 32, 58, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif act == 1:
            del changed[at : at + rng.choice((1, 2, 3, 40))]
        elif act == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 5, 50)))
        elif act == 3:
            changed[at:at] = changed[at : at + rng.choice((4, 20, 100))] * rng.choice((1, 1, 2, 300))
        elif act == 4:
            start = rng.randrange(len(other))
            changed[at:at] = other[start : start + rng.choice((4, 30, 400))]
        elif changed:
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed[:300_000])


def at_random(folder: Path, seconds: float, seed: int, protocol: str) -> int:
    """Mutate the seeds for some time; return how many inputs were tried."""
    rng, count, end = random.Random(seed), 0, time.monotonic() + seconds
    pool = seeds(protocol)
    tracemalloc.start()
    while time.monotonic() < end:
        data = mutate(rng, rng.choice(pool), rng.choice(pool))
        began = time.monotonic()
        tracemalloc.reset_peak()
        try:
            run(folder, data)
            assert time.monotonic() - began < MAX_SECONDS, "slow"
            assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES, "memory"
        except BaseException:
            Path("fuzz_http.crash").write_bytes(data)
            raise
        count += 1
        if len(pool) < 400 and rng.random() < 0.02:
            pool.append(data)
    return count


def main() -> None:
    """Run one of the two ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", choices=("http1", "http2"), default="")
    parser.add_argument("--atheris", action="store_true")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        if options.atheris:
            by_coverage(lambda data: run(Path(name), data), seeds(options.protocol), Path(name), rest)
        else:
            count = at_random(Path(name), options.seconds, options.seed, options.protocol)
            sys.stdout.write(f"{count} inputs, no finding\n")


if __name__ == "__main__":
    main()
