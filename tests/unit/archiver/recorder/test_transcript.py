"""The transcript holds what was relayed, its secrets first, and made-up headers that are right."""

from __future__ import annotations

import ipaddress
import json
import struct
import tracemalloc
from pathlib import Path

import pytest
import wire_lab as lab
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder.transcript import _checksum, client_endpoint, write_transcript
from archiver.capture.recorder.wire import HEADER, Kind
from archiver.errors import EnvironmentUnfit

SCRIPT = [(0, b"question"), (1, b"answer" * 20_000), (1, None), (0, None)]
KEYS = b"CLIENT_RANDOM " + b"0" * 64 + b" " + b"1" * 96 + b"\n"
FIN, SYN, RST = 1, 2, 4


def write(folder: Path, frames: bytes, keys: bytes = KEYS) -> tuple[Path, str]:
    (folder / "wire.bin").write_bytes(HEADER + frames)
    out = folder / "t.pcapng"
    return out, write_transcript(folder / "wire.bin", keys, out).problem


def blocks(path: Path) -> list[tuple[int, bytes]]:
    data, out, at = path.read_bytes(), [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        out.append((kind, data[at + 8 : at + length - 4]))
        at += length
    assert at == len(data)
    return out


def packets(path: Path) -> list[dict]:
    """IP and TCP headers taken apart, their checksums summed the slow way."""
    out = []
    for kind, body in blocks(path):
        if kind != 6:
            continue
        _, high, low, length, original = struct.unpack_from("<IIIII", body)
        assert length == original
        packet = body[20 : 20 + length]
        v6 = packet[0] >> 4 == 6
        ends = packet[8:40] if v6 else packet[12:20]
        segment = packet[40:] if v6 else packet[20:]
        assert v6 or slow_sum(packet[:20]) == 0xFFFF
        assert slow_sum(ends + struct.pack(">HH", 6, len(segment)) + segment) == 0xFFFF
        source, target, sequence, acknowledged, _, flags = struct.unpack_from(">HHIIBB", segment)
        comment = body[20 + length + -length % 4 :]
        out.append(
            {
                "at": high << 32 | low,
                "from": (str(ipaddress.ip_address(ends[: len(ends) // 2])), source),
                "to": (str(ipaddress.ip_address(ends[len(ends) // 2 :])), target),
                "sequence": sequence,
                "acknowledged": acknowledged,
                "flags": flags,
                "data": segment[20:],
                "comment": comment[4 : 4 + struct.unpack_from("<H", comment, 2)[0]].decode()
                if comment
                else "",
            }
        )
    return out


def slow_sum(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=300))
def test_checksum(data: bytes) -> None:
    """The fast checksum is the one of RFC 1071."""
    total = slow_sum(data)
    expected = 0xFFFF - total if total else 0
    assert _checksum(data) == expected.to_bytes(2, "big")


def test_layout(tmp_path: Path) -> None:
    """Section, interface and secrets come before every packet; only the owner can read the file."""
    out, problem = write(tmp_path, lab.wire_bytes(SCRIPT))
    kinds = [kind for kind, _ in blocks(out)]
    assert kinds[:3] == [0x0A0D0D0A, 1, 10]
    assert set(kinds[3:]) == {6}
    secrets = blocks(out)[2][1]
    assert secrets[8 : 8 + len(KEYS)] == KEYS
    assert struct.unpack_from("<II", secrets) == (0x544C534B, len(KEYS))
    assert (problem, out.stat().st_mode & 0o777) == ("", 0o600)


def test_streams(tmp_path: Path) -> None:
    """Each direction's segments, put in order of their numbers, are the bytes as relayed, at their times."""
    out, _ = write(tmp_path, lab.wire_bytes(SCRIPT))
    found = packets(out)
    client, server = ("192.0.2.1", 1025), ("198.51.100.7", 80)
    for source, target, data in ((client, server, b"question"), (server, client, b"answer" * 20_000)):
        mine = [one for one in found if one["from"] == source]
        assert b"".join(one["data"] for one in mine) == data
        following = mine[0]["sequence"]
        for one in mine:
            assert (one["sequence"], one["to"]) == (following, target)
            following += len(one["data"]) + bool(one["flags"] & (SYN | FIN))
        assert max(len(one["data"]) for one in mine) <= 32 * 1024
    assert found[0]["at"] == lab.START_NS
    assert next(one["at"] for one in found if one["data"]) == lab.START_NS + 1000
    assert found[0]["comment"] == "connection 1: evidence.example:80"


@pytest.mark.parametrize(
    ("script", "end", "flags", "sender"),
    [
        ([(1, None), (0, None)], lab.closed(), FIN, "198.51.100.7"),
        ([], lab.closed("server", "connection reset"), RST, "198.51.100.7"),
        ([(0, None)], lab.closed("client", "closed"), RST, "192.0.2.1"),
        ([], lab.closed("relay", "the tape was closed"), RST, "192.0.2.1"),
    ],
)
def test_ends(tmp_path: Path, script, end: bytes, flags: int, sender: str) -> None:
    """An orderly end is a FIN, any other a reset from the side that ended, with the relay's words."""
    out, _ = write(tmp_path, lab.wire_bytes(script, end=end))
    found = packets(out)
    last = [one for one in found if one["flags"] & flags]
    assert last[0]["from"][0] == sender
    if flags == RST:
        assert json.loads(end)["why"] in last[0]["comment"]
    else:
        assert not any(one["flags"] & RST for one in found)


def test_not_delivered_is_left_out(tmp_path: Path) -> None:
    """Bytes that reached nobody are not in the stream; a comment says how many came."""
    frames = lab.frame(1, Kind.OPENED, 1, lab.opened()) + lab.frame(
        1, Kind.NOT_DELIVERED_TO_CLIENT, 2, b"late"
    )
    out, _ = write(tmp_path, frames)
    found = packets(out)
    assert not any(one["data"] for one in found)
    assert found[-1]["comment"].startswith("4 bytes came from here")
    assert found[-1]["from"][0] == "198.51.100.7"


def test_ipv6(tmp_path: Path) -> None:
    """A server with an IPv6 address talks to a client with a documentation address of that kind."""
    frames = lab.frame(1, Kind.OPENED, 1, lab.opened(ip="2606:4700::1")) + lab.frame(
        1, Kind.CLIENT_DATA, 2, b"hi"
    )
    found = packets(write(tmp_path, frames)[0])
    assert (found[0]["from"][0], found[0]["to"][0]) == ("2001:db8::1", "2606:4700::1")
    assert found[3]["data"] == b"hi"


@pytest.mark.parametrize("ip", [None, "", "not an address", 7, "fe80::1%eth0", "::ffff:1.2.3.4"])
def test_address_not_seen(tmp_path: Path, ip: object) -> None:
    """Where no plain address was seen the packets are right all the same."""
    frames = lab.frame(1, Kind.OPENED, 1, lab.opened(ip=ip)) + lab.frame(1, Kind.SERVER_DATA, 2, b"hi")
    found = packets(write(tmp_path, frames)[0])
    assert b"".join(one["data"] for one in found) == b"hi"


def test_many_connections_have_ends_of_their_own() -> None:
    """No two connections share a client endpoint."""
    numbers = [*range(1, 200), *range(63_990, 64_010), *range(127_990, 128_010)]
    assert len({client_endpoint(number, v6=False) for number in numbers}) == len(numbers)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (lab.wire_bytes(SCRIPT) + b"\0" * 40, "E210"),
        (lab.frame(1, Kind.OPENED, 1, b"[]") + lab.frame(1, Kind.CLIENT_DATA, 1, b"x"), ""),
        (
            lab.frame(1, Kind.OPENED, 1, lab.opened(host="\ud800\x1b[2J"))
            + lab.frame(1, Kind.CLOSED, 2, b"?"),
            "",
        ),
        (lab.wire_bytes(SCRIPT)[:-3], ""),
        (lab.frame(9, Kind.CLIENT_DATA, 1, b"x"), ""),
        (b"", ""),
    ],
)
def test_lying_wire(tmp_path: Path, frames: bytes, words: str) -> None:
    """A wire file that no relay wrote gives a well-formed transcript up to the lie, and the reason."""
    out, problem = write(tmp_path, frames)
    assert words in problem
    assert all(one["comment"].isprintable() for one in packets(out))


def test_existing_file_is_never_replaced(tmp_path: Path) -> None:
    """A file that is there already stays as it is."""
    (tmp_path / "t.pcapng").write_bytes(b"older")
    with pytest.raises(EnvironmentUnfit, match="E543"):
        write(tmp_path, b"")
    assert (tmp_path / "t.pcapng").read_bytes() == b"older"


def test_no_half_file_is_left(tmp_path: Path) -> None:
    """When the wire file cannot be read nothing is left where the transcript would be."""
    with pytest.raises(EnvironmentUnfit, match="E543"):
        write_transcript(tmp_path / "none.bin", b"", tmp_path / "t.pcapng")
    assert list(tmp_path.iterdir()) == []


def test_flat_memory(tmp_path: Path) -> None:
    """A wire file of 20 MB is written through without being held."""
    (tmp_path / "wire.bin").write_bytes(HEADER + lab.wire_bytes([(1, bytes(200_000))] * 100))
    tracemalloc.start()
    write_transcript(tmp_path / "wire.bin", KEYS, tmp_path / "t.pcapng")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000
