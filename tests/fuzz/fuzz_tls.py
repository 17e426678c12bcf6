"""Fuzz the TLS follower: whatever passes on the wire, only TlsError may come out, and little memory be used.

``python tests/fuzz/fuzz_tls.py --seconds 600`` mutates recorded connections at random. With atheris
installed, ``python tests/fuzz/fuzz_tls.py --atheris [libFuzzer options]`` is guided by coverage. An input
that fails is left in ``fuzz_tls.crash`` (or where libFuzzer says).

An input is a mode byte and chunks of direction (1), length (2) and data. In mode 0 the chunks are the wire of
a recorded connection; in mode 1 they are handshake messages, sealed under the right keys before they are fed,
so that what lies behind the encryption is reached too.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import random
import ssl
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / "tests" / "unit" / "archiver" / "recorder")]

from guided import by_coverage  # noqa: E402
from tls_forge import EARLY, ECH, SERVER, Forge, certificate, extension, leaf_and_key, message, vector  # noqa: E402
from tls_lab import make_certificate, record  # noqa: E402

from archiver.capture.recorder.keylog import KeyLog  # noqa: E402
from archiver.capture.recorder.tls import TlsError, TlsStream, tie_resumed  # noqa: E402

WIRE, MESSAGES = 0, 1


def pack(mode: int, chunks: list[tuple[int, bytes]]) -> bytes:
    """Write chunks as a fuzzing input."""
    return bytes([mode]) + b"".join(bytes([way]) + vector(data, 2) for way, data in chunks)


def unpack(data: bytes) -> list[tuple[int, bytes]]:
    """Read the chunks of an input; the last one may be cut."""
    chunks, at = [], 1
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        chunks.append((data[at], data[at + 3 : at + 3 + size]))
        at += 3 + size
    return chunks


class Target:
    """Recorded connections to start from, and the function under test."""

    def __init__(self, folder: Path) -> None:
        pem = make_certificate(folder, "rsa")
        keys, self._keys = folder / "keys.log", folder / "all.log"
        recordings = [
            record(pem, keys, version=version, suites=suites)[0]
            for version, suites in (
                (ssl.TLSVersion.TLSv1_3, ""),
                (ssl.TLSVersion.TLSv1_2, ""),
                (ssl.TLSVersion.TLSv1_2, "AES128-SHA"),
            )
        ]
        leaf, key = leaf_and_key(make_certificate(folder, "ed25519"))
        self._forge = Forge(folder / "forge.log")
        self._forge.hello(EARLY, ECH)
        self._keys.write_bytes(recordings[-1].keys + (folder / "forge.log").read_bytes())
        flight = [
            message(8, vector(extension(16, vector(vector(b"h2", 1), 2)) + EARLY, 2)),
            message(13, b"\0" + vector(b"", 2)),
            certificate(leaf, leaf, leaf=extension(5, b"\1" + vector(b"ocsp", 3))),
            self._forge.verify_message(key),
            self._forge.finished(SERVER),
            message(4, bytes(8) + vector(b"n", 1) + vector(b"ticket", 2) + bytes(2)),
            message(24, b"\0"),
        ]
        self.seeds = [pack(WIRE, [(way, data[:60000]) for way, data in each.wire]) for each in recordings]
        self.seeds.append(pack(MESSAGES, [(SERVER, each) for each in flight]))
        self.seeds.append(pack(MESSAGES, [(SERVER, b"".join(flight[:5])), (0x10, b"early"), (0, b"")]))

    def run(self, data: bytes) -> None:
        """Feed one input; anything but TlsError is a finding."""
        if not data:
            return
        wire = unpack(data)
        if data[0] % 2 == MESSAGES:
            wire = self._sealed(wire)
        stream = TlsStream(KeyLog(self._keys))
        out_bytes = 0
        with contextlib.suppress(TlsError):
            for at, (way, chunk) in enumerate(wire):
                events = stream.feed(way & 1, chunk, at)
                out_bytes += sum(len(content) for _, content, _ in events)
        facts = stream.facts()
        assert out_bytes <= sum(len(chunk) for _, chunk in wire), "more came out than went in"
        assert stream.pending_bytes <= len(data) + 100_000, "more waits than went in"
        tie_resumed({0: facts, 1: facts})

    def _sealed(self, chunks: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Seal each chunk as one record; the high bits of its direction choose type and keys."""
        forge = copy.copy(self._forge)
        forge._use, forge.wire = list(forge._use), list(forge.wire)
        for way, content in chunks:
            stage = ("", "early", "handshake", "data")[way >> 6]
            if stage:
                forge.keys(way & 1, stage)
            kind = (22, 23, 21, 20)[way >> 4 & 3]
            forge.say(way & 1, forge.seal(way & 1, kind, content, padding=way >> 1 & 7))
        return forge.wire


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Return *data* with a few places changed."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # handshakes are at the front, and that is where parsing happens
        at = rng.randrange(min(len(changed), rng.choice((64, 600, 4000, 1 << 20))) or 1)
        act = rng.randrange(5)
        if act == 0 and changed:
            changed[at % len(changed)] = rng.choice((0, 1, 2, 0x7F, 0xFF, rng.randrange(256)))
        elif act == 1:
            del changed[at : at + rng.choice((1, 2, 3, 40))]
        elif act == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 5, 50)))
        elif act == 3:
            changed[at:at] = changed[at : at + rng.choice((4, 100, 1000))]
        else:
            start = rng.randrange(len(other))
            changed[at:at] = other[start : start + rng.choice((4, 100, 1000))]
    return bytes(changed)


def at_random(target: Target, seconds: float, seed: int) -> int:
    """Mutate the seeds for some time; return how many inputs were tried."""
    rng, count, end = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(rng, rng.choice(target.seeds), rng.choice(target.seeds))
        try:
            target.run(data)
        except BaseException:
            Path("fuzz_tls.crash").write_bytes(data)
            raise
        count += 1
    return count


def main() -> None:
    """Run one of the two ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        target = Target(Path(name))
        if options.atheris:
            by_coverage(target.run, target.seeds, Path(name), rest)
        else:
            sys.stdout.write(f"{at_random(target, options.seconds, options.seed)} inputs, no finding\n")


if __name__ == "__main__":
    main()
