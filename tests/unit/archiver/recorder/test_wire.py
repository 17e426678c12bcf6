"""The wire file: what is written is read back, a torn end is told, a lie is refused."""

from __future__ import annotations

import os
import resource
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder import wire
from archiver.capture.recorder.wire import (
    HEADER,
    Kind,
    MalformedWire,
    WireReader,
    WireWriteFailed,
    WireWriter,
)

HEAD = struct.Struct("<IBQI")
FACTS = (Kind.OPENED, Kind.CLOSED, Kind.REFUSED)
DATA_KINDS = [kind for kind in Kind if kind not in FACTS]
FRAMES = st.lists(
    st.tuples(st.integers(1, 2**32 - 1), st.sampled_from(DATA_KINDS), st.binary(max_size=300)), max_size=12
)


def write(path, entries):
    writer = WireWriter(path)
    for connection, kind, data in entries:
        writer.write(connection, kind, data)
    writer.close()
    assert writer.size_bytes == path.stat().st_size
    return path


def wire_bytes(*parts):
    return HEADER + b"".join(parts)


@given(entries=FRAMES)
def test_round_trip(tmp_path_factory, entries):
    """Every frame comes back with its connection, kind and bytes, in order, with times that do not fall."""
    path = write(tmp_path_factory.mktemp("wire") / "wire.bin", entries)
    reader = WireReader(path)
    got = list(reader)
    assert [(f.connection, f.kind, f.data) for f in got] == entries
    assert [f.at_ns for f in got] == sorted(f.at_ns for f in got)
    assert reader.torn_bytes == 0


@given(entries=FRAMES, data=st.data())
def test_any_cut_keeps_the_whole_frames(tmp_path_factory, entries, data):
    """A file cut at any byte yields exactly the frames before the cut and says how many bytes are torn."""
    path = write(tmp_path_factory.mktemp("wire") / "wire.bin", entries)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    reader = WireReader(path)
    got = list(reader)
    assert [(f.connection, f.kind, f.data) for f in got] == entries[: len(got)]
    whole = (
        got[-1].offset + HEAD.size + len(got[-1].data) if got else (len(HEADER) if cut >= len(HEADER) else 0)
    )
    assert reader.torn_bytes == cut - whole


@given(junk=st.binary(max_size=400))
def test_junk_after_the_header_never_crashes(tmp_path_factory, junk):
    """Whatever follows the header is read as frames, told as torn, or refused; nothing else happens."""
    path = tmp_path_factory.mktemp("wire") / "wire.bin"
    path.write_bytes(wire_bytes(junk))
    reader = WireReader(path)
    try:
        used = sum(HEAD.size + len(frame.data) for frame in reader)
    except MalformedWire:
        return
    assert used + reader.torn_bytes == len(junk)


@pytest.mark.parametrize(
    "content",
    [
        b"\n\r\r\n",
        b"archiver wire 2\n",
        HEADER[1:] + b"x",
        b"archiver wire 1\r",
        wire_bytes(HEAD.pack(1, 0, 0, 0)),
        wire_bytes(HEAD.pack(1, 10, 0, 0)),
        wire_bytes(HEAD.pack(1, 255, 0, 0)),
        wire_bytes(HEAD.pack(0, Kind.CLIENT_DATA, 0, 0)),
        wire_bytes(HEAD.pack(1, Kind.SERVER_DATA, 0, wire.MAX_FRAME_BYTES + 1)),
        wire_bytes(HEAD.pack(1, Kind.SERVER_DATA, 0, 2**32 - 1)),
        wire_bytes(HEAD.pack(1, Kind.OPENED, 0, wire.MAX_FACTS_BYTES + 1)),
        wire_bytes(HEAD.pack(1, Kind.CLIENT_DATA, 0, 2), b"ok", HEAD.pack(1, 99, 0, 0)),
    ],
)
def test_lies_are_refused(tmp_path, content):
    """Another format or version, an unknown kind, connection 0 and a length over the limit are refused."""
    path = tmp_path / "wire.bin"
    path.write_bytes(content)
    with pytest.raises(MalformedWire, match=r"^wire file: frame at byte \d+: expected .* got .*\[E210\]$"):
        list(wire.frames(path))


def test_frame_of_exactly_the_limit_is_read(tmp_path):
    """The limit itself is allowed."""
    path = write(tmp_path / "wire.bin", [(1, Kind.SERVER_DATA, b"x" * wire.MAX_FRAME_BYTES)])
    assert [len(frame.data) for frame in wire.frames(path)] == [wire.MAX_FRAME_BYTES]


def test_facts_round_trip(tmp_path):
    """The facts of an opened connection come back as they were given."""
    data = wire.encode_facts({"host": "пример.example", "dns": ["192.0.2.1"]})
    path = write(tmp_path / "wire.bin", [(7, Kind.OPENED, data)])
    (frame,) = wire.frames(path)
    assert frame.facts() == {"host": "пример.example", "dns": ["192.0.2.1"]}


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'{"a":', b"\xff\xfe", b"[" * 60_000])
def test_facts_that_are_no_object_are_refused(tmp_path, data):
    """A facts frame must hold one JSON object."""
    path = write(tmp_path / "wire.bin", [(1, Kind.REFUSED, data)])
    (frame,) = wire.frames(path)
    with pytest.raises(MalformedWire, match="REFUSED"):
        frame.facts()


def test_data_has_no_facts(tmp_path):
    """Bytes of a page that happen to be JSON are not taken for facts."""
    path = write(tmp_path / "wire.bin", [(1, Kind.SERVER_DATA, b"{}")])
    (frame,) = wire.frames(path)
    with pytest.raises(MalformedWire, match="SERVER_DATA"):
        frame.facts()


def test_new_files_are_private(tmp_path):
    """Nobody but the owner can read a wire file: it holds cookies and passwords."""
    assert write(tmp_path / "wire.bin", []).stat().st_mode & 0o777 == 0o600


def test_existing_file_is_refused(tmp_path):
    """Evidence is never written over, nor through a link that somebody else put there."""
    path = write(tmp_path / "wire.bin", [])
    with pytest.raises(WireWriteFailed, match="file exists"):
        WireWriter(path)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WireWriteFailed, match="file exists"):
        WireWriter(tmp_path / "link")


def test_full_disk_is_named():
    """A write that the system refuses raises with the system's reason."""

    class Full(WireWriter):
        def __init__(self):
            self.path, self.size_bytes = Path("/dev/full"), 0
            self._fd = os.open("/dev/full", os.O_WRONLY)

    with pytest.raises(WireWriteFailed, match="no space left on device") as caught:
        Full().write(1, Kind.CLIENT_DATA, b"x")
    assert caught.value.reason == "no space left on device"


def test_a_write_that_is_cut_short_is_a_failed_write(tmp_path):
    """A frame of which the disk took only a part is not taken for written."""
    writer = WireWriter(tmp_path / "wire.bin")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(WireWriteFailed, match="file too large"):
            writer.write(1, Kind.SERVER_DATA, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    assert writer.size_bytes == (tmp_path / "wire.bin").stat().st_size == 500
