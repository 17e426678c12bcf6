"""Fuzz the readers of wire files: whatever is in the file, reading it ends and says where it gave up.

``python tests/fuzz/fuzz_wire.py --seconds 600`` mutates wire files at random. With atheris installed,
``python tests/fuzz/fuzz_wire.py --atheris [libFuzzer options]`` is guided by coverage. An input that fails is
left in ``fuzz_wire.crash`` (or where libFuzzer says).

An input is a wire file without its header, or a whole one if it begins as the header does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / "tests" / "unit" / "archiver" / "recorder")]

import test_http1 as h1  # noqa: E402
import test_http2 as h2  # noqa: E402
import wire_lab as lab  # noqa: E402
from fuzz_http import MAX_MEMORY_BYTES, MAX_SECONDS, mutate  # noqa: E402
from guided import by_coverage  # noqa: E402

from archiver.capture.recorder.decode import DecodeLimits, decode  # noqa: E402
from archiver.capture.recorder.transcript import write_transcript  # noqa: E402
from archiver.capture.recorder.wire import HEADER, Kind, MalformedWire, WireReader, encode_facts  # noqa: E402


def seeds() -> list[bytes]:
    """Wire files to start from."""
    peers = h2.Peers()
    peers.get(1, ("accept", "*/*"))
    peers.answer(1, b"one", ("content-length", "3"))
    refused = {"stage": "guard", "error": "loopback", "errno": None, "host": "a.example", "port": 80}
    late = [
        lab.frame(9, Kind.REFUSED, lab.START_NS, encode_facts(refused)),
        lab.frame(3, Kind.NOT_DELIVERED_TO_CLIENT, lab.START_NS, b"late"),
        lab.frame(3, Kind.NOT_DELIVERED_TO_SERVER, lab.START_NS, b"late"),
    ]
    plain = lab.wire_bytes(h1.CONVERSATION, number=1)
    other = lab.wire_bytes([*peers.script, (1, None)], number=2, port=443)
    torn = lab.wire_bytes(h1.SOCKET, number=3)[:-5]
    tls = lab.wire_bytes([(0, b"\x16\x03\x01\x00\x05hello"), (1, b"\x15\x03\x03\x00\x02\x02\x28")], number=4)
    return [plain, plain + other + b"".join(late), HEADER + other + torn, tls, late[0] + torn]


def run(folder: Path, data: bytes) -> None:
    """Read one input by every reader; anything raised, or left unsaid, is a finding."""
    wire, out = folder / "wire.bin", folder / "t.pcapng"
    content = data if data.startswith(HEADER[:4]) else HEADER + data
    wire.write_bytes(content)
    out.unlink(missing_ok=True)
    whole, data_bytes, torn_bytes = True, 0, 0
    reader = WireReader(wire)
    try:
        for frame in reader:
            data_bytes += len(frame.data)
        torn_bytes = reader.torn_bytes
    except MalformedWire:
        whole = False
    exchanges = []
    decoded = decode(wire, folder / "keys.log", exchanges.append, DecodeLimits())
    transcript = write_transcript(wire, b"", out)
    for one in exchanges:
        for body in filter(None, (one.request_body, one.response_body)):
            body.file.close()
    assert bool(transcript.problem) == (not whole)
    assert whole or decoded.problems
    assert not whole or decoded.torn_tail_bytes == torn_bytes
    assert (
        sum(facts.sent.size_bytes + facts.received.size_bytes for facts in decoded.connections) <= data_bytes
    )
    assert wire.read_bytes() == content


def at_random(folder: Path, seconds: float, seed: int) -> int:
    """Mutate the seeds for some time; return how many inputs were tried."""
    rng, count, end = Random(seed), 0, time.monotonic() + seconds
    pool = seeds()
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
            Path("fuzz_wire.crash").write_bytes(data)
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
        if options.atheris:
            by_coverage(lambda data: run(Path(name), data), seeds(), Path(name), rest)
        else:
            sys.stdout.write(f"{at_random(Path(name), options.seconds, options.seed)} inputs, no finding\n")


if __name__ == "__main__":
    main()
