import io
import shutil
import struct
import subprocess
import zipfile
import zlib

import pytest

from manifests.findings import Code
from manifests.proof import ProofError
from manifests.zip_check import check_zip, member_pieces
from tests.unit.manifests.captures import case_name, plain_member, wacz, zipped

TWO = {"a.txt": b"first", "b/c.txt": b"second" * 50}


def check(data):
    members, findings = check_zip(io.BytesIO(data), len(data))
    return members, {finding.code for finding in findings}


def central(data):
    """Where the central directory begins."""
    return struct.unpack_from("<L", data, len(data) - 6)[0]


def patched(data, at, form, *values):
    out = bytearray(data)
    struct.pack_into(form, out, at, *values)
    return bytes(out)


def both(data, central_at, local_at, form, value):
    """Change a field of the first member in both of its headers."""
    return patched(patched(data, central(data) + central_at, form, value), local_at, form, value)


def inserted(data, at, extra, *, moved):
    """Insert *extra* at byte *at*; with *moved* the end record points at the new directory."""
    out = data[:at] + extra + data[at:]
    return patched(out, len(out) - 6, "<L", central(data) + len(extra)) if moved else out


GOOD = zipped(TWO)
DEFLATED = zipped(TWO, frozenset(TWO))


@pytest.mark.parametrize("data", [GOOD, DEFLATED, wacz(), zipped({"a": b""})], ids=case_name)
def test_plain_archives_are_sound(data):
    """What zipfile and our packer write is read without a finding, and every member whole."""
    members, codes = check(data)
    assert codes == set()
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        assert [member.name for member in members] == package.namelist()
        for member in members:
            assert b"".join(member_pieces(io.BytesIO(data), member)) == package.read(member.name)


def test_an_archive_written_with_zip64_headers_is_sound():
    """Large members bring 64-bit fields, in the local header alone where sizes turn out small."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as package,
        package.open(plain_member("a"), "w", force_zip64=True) as member,
    ):
        member.write(b"x")
    members, codes = check(out.getvalue())
    assert codes == set()
    assert members[0].bytes == 1


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP")
def test_an_archive_of_info_zip_is_refused_for_its_extra_fields(tmp_path):
    """Extra fields of other writers could hold anything."""
    (tmp_path / "a.txt").write_text("x")
    subprocess.run(["zip", "-q", "a.zip", "a.txt"], cwd=tmp_path, check=True)
    assert Code.ZIP_FEATURE_REFUSED in check((tmp_path / "a.zip").read_bytes())[1]


def _streamed():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as package:
        package.writestr(plain_member("a"), b"x")
    return pipe.data


def _commented(which):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        info = plain_member("a")
        if which == "member":
            info.comment = b"hi"
        elif which == "archive":
            package.comment = b"hi"
        elif which == "extra":
            info.extra = struct.pack("<2H2s", 0x7075, 2, b"hi")
        elif which == "link":
            info.create_system = 3
            info.external_attr = 0o120777 << 16
        elif which == "lzma":
            info.compress_type = zipfile.ZIP_LZMA
        package.writestr(info, b"x")
    return out.getvalue()


def _renamed(name):
    """An archive whose first member has another name of the same length."""
    return GOOD.replace(b"a.txt", name)


def _doubled():
    data = zipped({"a.txt": b"one", "b.txt": b"two"})
    return data.replace(b"b.txt", b"a.txt")


def _overlapping():
    """Two central entries that name one local header."""
    data = zipped({"a.txt": b"one", "b.txt": b"one"})
    at = central(data)
    second = at + 46 + 5
    return patched(data, second + 42, "<L", 0).replace(b"b.txt", b"a.txt")


SECOND = 30 + 5 + 5
"""Where the second member of ``GOOD`` begins."""

BAD = {
    "empty": (b"", {Code.ZIP_MALFORMED}),
    "no zip": (b"x" * 100, {Code.ZIP_MALFORMED}),
    "cut": (GOOD[:-1], {Code.ZIP_MALFORMED}),
    "trailing byte": (GOOD + b"\0", {Code.ZIP_MALFORMED}),
    "trailing archive": (GOOD + zipped({"z": b"z"}), {Code.ZIP_HIDDEN_BYTES}),
    "prefix": (b"MZ" + GOOD, {Code.ZIP_HIDDEN_BYTES}),
    "prefix, offsets moved": (
        patched(inserted(GOOD, 0, b"MZ", moved=True), central(GOOD) + 2 + 42, "<L", 2),
        {Code.ZIP_MALFORMED},
    ),
    "gap before directory": (inserted(GOOD, central(GOOD), b"hidden", moved=True), {Code.ZIP_HIDDEN_BYTES}),
    "gap after directory": (GOOD[:-22] + b"hidden" + GOOD[-22:], {Code.ZIP_HIDDEN_BYTES}),
    "archive comment": (_commented("archive"), {Code.ZIP_MALFORMED}),
    "member comment": (_commented("member"), {Code.ZIP_FEATURE_REFUSED}),
    "extra field": (_commented("extra"), {Code.ZIP_FEATURE_REFUSED}),
    "link": (_commented("link"), {Code.ZIP_FEATURE_REFUSED}),
    "lzma": (_commented("lzma"), {Code.ZIP_FEATURE_REFUSED}),
    "data descriptor": (_streamed(), {Code.ZIP_FEATURE_REFUSED}),
    "encrypted": (both(GOOD, 8, 6, "<H", 1), {Code.ZIP_FEATURE_REFUSED}),
    "encrypted in one header": (patched(GOOD, 6, "<H", 1), {Code.ZIP_HEADERS_DISAGREE}),
    "two disks": (patched(GOOD, len(GOOD) - 18, "<H", 1), {Code.ZIP_MALFORMED}),
    "member of another disk": (patched(GOOD, central(GOOD) + 34, "<H", 1), {Code.ZIP_FEATURE_REFUSED}),
    "fewer members": (patched(GOOD, len(GOOD) - 14, "<2H", 1, 1), {Code.ZIP_MALFORMED}),
    "more members": (patched(GOOD, len(GOOD) - 14, "<2H", 3, 3), {Code.ZIP_MALFORMED}),
    "members on this disk": (patched(GOOD, len(GOOD) - 14, "<H", 1), {Code.ZIP_MALFORMED}),
    "zip64 that is not there": (patched(GOOD, len(GOOD) - 6, "<L", 0xFFFFFFFF), {Code.ZIP_MALFORMED}),
    "name in local header": (patched(GOOD, 30, "5s", b"x.txt"), {Code.ZIP_HEADERS_DISAGREE}),
    "size in local header": (patched(GOOD, 22, "<L", 4), {Code.ZIP_HEADERS_DISAGREE}),
    "packed size in local header": (patched(GOOD, 18, "<L", 4), {Code.ZIP_HEADERS_DISAGREE}),
    "checksum in local header": (patched(GOOD, 14, "<L", 4), {Code.ZIP_HEADERS_DISAGREE}),
    "date in local header": (patched(GOOD, 12, "<H", 4), {Code.ZIP_HEADERS_DISAGREE}),
    "method in local header": (patched(GOOD, 8, "<H", 8), {Code.ZIP_HEADERS_DISAGREE}),
    "no local header": (patched(GOOD, 0, "4s", b"PK\0\0"), {Code.ZIP_MALFORMED}),
    "offset beyond the end": (patched(GOOD, central(GOOD) + 42, "<L", 2**31), {Code.ZIP_MALFORMED}),
    "stored of two sizes": (both(GOOD, 24, 22, "<L", 4), {Code.ZIP_HEADERS_DISAGREE}),
    "shorter in both": (
        both(both(GOOD, 24, 22, "<L", 4), 20, 18, "<L", 4),
        {Code.ZIP_HIDDEN_BYTES},
    ),
    "longer in both": (both(both(GOOD, 24, 22, "<L", 6), 20, 18, "<L", 6), {Code.ZIP_OVERLAP}),
    "beyond the directory": (both(both(GOOD, 24, 22, "<L", 9999), 20, 18, "<L", 9999), {Code.ZIP_OVERLAP}),
    "one name twice": (_doubled(), {Code.ZIP_DUPLICATE_MEMBER}),
    "one name in two cases": (
        _doubled().replace(b"a.txt", b"A.txt", 1),
        {Code.ZIP_HEADERS_DISAGREE, Code.ZIP_DUPLICATE_MEMBER},
    ),
    "names that differ in case": (zipped({"a": b"", "A": b""}), {Code.ZIP_DUPLICATE_MEMBER}),
    "one place twice": (_overlapping(), {Code.ZIP_DUPLICATE_MEMBER, Code.ZIP_OVERLAP, Code.ZIP_HIDDEN_BYTES}),
    "up": (_renamed(b"../xx"), {Code.ZIP_UNSAFE_NAME}),
    "root": (_renamed(b"/etc/"), {Code.ZIP_UNSAFE_NAME}),
    "backslash": (_renamed(b"a\\txt"), {Code.ZIP_UNSAFE_NAME}),
    "drive": (_renamed(b"C:txt"), {Code.ZIP_UNSAFE_NAME}),
    "nul": (_renamed(b"a\0txt"), {Code.ZIP_UNSAFE_NAME}),
    "hidden": (_renamed(b".atxt"), {Code.ZIP_UNSAFE_NAME}),
    "not utf-8": (_renamed(b"a\xfftxt"), {Code.ZIP_UNSAFE_NAME}),
    "folder": (_renamed(b"atxt/"), {Code.ZIP_UNSAFE_NAME}),
    "newline": (_renamed(b"atxt\n"), {Code.ZIP_UNSAFE_NAME}),
}


@pytest.mark.parametrize(("data", "codes"), BAD.values(), ids=BAD.keys())
def test_an_archive_that_two_readers_may_read_differently_is_found(data, codes):
    """Each trick gives its own finding, whatever zipfile makes of it."""
    assert check(data)[1] == codes


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (GOOD.replace(b"first", b"fIrst"), Code.ZIP_CHECKSUM),
        (both(GOOD, 16, 14, "<L", 1), Code.ZIP_CHECKSUM),
        (both(DEFLATED, 24, 22, "<L", 4), Code.ZIP_MALFORMED),
        (both(DEFLATED, 24, 22, "<L", 6), Code.ZIP_CHECKSUM),
        (both(DEFLATED, 24, 22, "<L", 2**31), Code.ZIP_TOO_LARGE),
        (patched(DEFLATED, 35, "2s", b"\xff\xff"), Code.ZIP_MALFORMED),
    ],
    ids=case_name,
)
def test_a_member_that_is_not_what_its_headers_say_is_found_when_read(data, code):
    """Wrong checksum, wrong size and broken compression are found by reading."""
    member = check_zip(io.BytesIO(data), len(data))[0][0]
    with pytest.raises(ProofError) as caught:
        list(member_pieces(io.BytesIO(data), member))
    assert caught.value.finding.code is code


def test_a_deflate_stream_without_an_end_is_found():
    """All bytes and the right checksum do not make up for a stream that could go on."""
    endless = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = endless.compress(b"x" * 40) + endless.flush(zlib.Z_SYNC_FLUSH)
    data = zipped({"a": stream})
    data = both(both(data, 10, 8, "<H", 8), 16, 14, "<L", zlib.crc32(b"x" * 40))
    data = both(data, 24, 22, "<L", 40)
    members, codes = check(data)
    assert codes == set()
    with pytest.raises(ProofError, match="no end"):
        list(member_pieces(io.BytesIO(data), members[0]))


def test_bytes_after_the_end_of_a_deflate_stream_are_found():
    """A member may not hold more than its stream: the rest would be seen by nobody."""
    data = zipped({"a": b"x" * 40}, frozenset({"a"}))
    size = struct.unpack_from("<L", data, 18)[0]
    longer = data[: 31 + size] + b"hidden" + data[31 + size :]
    longer = patched(longer, 18, "<L", size + 6)
    longer = patched(longer, len(longer) - 6, "<L", central(data) + 6)
    longer = patched(longer, central(longer) + 20, "<L", size + 6)
    members, codes = check(longer)
    assert codes == set()
    with pytest.raises(ProofError, match="after its end"):
        list(member_pieces(io.BytesIO(longer), members[0]))


def _header_places():
    """Every byte of ``GOOD`` that is no member's data."""
    data = [*range(35, 40), *range(SECOND + 37, SECOND + 37 + 300)]
    return [at for at in range(len(GOOD)) if at not in data]


def test_every_bit_of_every_header_counts():
    """No single bit outside the members' data can change without a finding: headers have no spare room."""
    unnoticed = []
    for at in _header_places():
        for bit in range(8):
            changed = patched(GOOD, at, "B", GOOD[at] ^ 1 << bit)
            members, codes = check(changed)
            if not codes and not _unreadable(changed, members):
                unnoticed.append((at, bit))
    assert unnoticed == []


def _unreadable(data, members):
    try:
        for member in members:
            for _ in member_pieces(io.BytesIO(data), member):
                pass
    except ProofError:
        return True
    return False


def test_a_bomb_is_cut_off_at_its_stated_size():
    """A megabyte that unpacks to a gigabyte is not unpacked beyond what its header says."""
    data = zipped({"a": bytes(50_000_000)}, frozenset({"a"}))
    small = both(data, 24, 22, "<L", 1000)
    member = check_zip(io.BytesIO(small), len(small))[0][0]
    with pytest.raises(ProofError, match="more bytes than stated"):
        next(member_pieces(io.BytesIO(small), member))


def _as_zip64(data, *, count=None, offset=None, size=44, at=None):
    """The archive with its end record replaced by a zip64 one, and lies where asked."""
    begin, end = central(data), len(data) - 22
    number = 2 if count is None else count
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", size, 45, 45, 0, 0, number, number, end - begin, offset or begin
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end if at is None else at, 1)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + tail


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        ({"count": 1}, Code.ZIP_HEADERS_DISAGREE),
        ({"offset": 7}, Code.ZIP_HEADERS_DISAGREE),
        ({"size": 100}, Code.ZIP_MALFORMED),
        ({"at": 3}, Code.ZIP_MALFORMED),
        ({}, Code.ZIP_HEADERS_DISAGREE),
    ],
)
def test_zip64_where_it_is_not_needed_or_lies_is_found(lies, code):
    """A zip64 end record is believed only where the small one is full, and must fit it and the bytes."""
    assert code in check(_as_zip64(GOOD, **lies))[1]


LARGE = 5 * 2**30


def _write_large(path, stated=LARGE):
    """An archive of one stored member of 5 GiB, sparse on disk, with 64-bit fields where they are needed."""
    wide = struct.pack("<2H2Q", 1, 16, stated, stated)
    local = (
        struct.pack("<4s2B4H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 33, 0, 2**32 - 1, 2**32 - 1, 1, 20)
        + b"a"
        + wide
    )
    entry = struct.pack(
        "<4s4B4H3L5H2L",
        b"PK\1\2",
        45,
        3,
        45,
        0,
        0,
        0,
        0,
        33,
        0,
        2**32 - 1,
        2**32 - 1,
        1,
        20,
        0,
        0,
        0,
        0o100644 << 16,
        0,
    )
    entry += b"a" + wide
    begin = len(local) + LARGE
    end = begin + len(entry)
    tail = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), begin)
    tail += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    tail += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), 2**32 - 1, 0)
    with path.open("wb") as file:
        file.write(local)
        file.seek(begin)
        file.write(entry + tail)
    return end + len(tail)


@pytest.mark.parametrize(("stated", "codes"), [(LARGE, set()), (LARGE - 1, {Code.ZIP_HIDDEN_BYTES})])
def test_an_archive_beyond_four_gibibytes_is_read(tmp_path, stated, codes):
    """Where sizes need 64 bits they are read, and a byte left out of them is found."""
    size = _write_large(tmp_path / "large.zip", stated)
    with (tmp_path / "large.zip").open("rb") as stream:
        members, findings = check_zip(stream, size)
    assert [member.bytes for member in members] == [stated]
    assert {finding.code for finding in findings} == codes
    with zipfile.ZipFile(tmp_path / "large.zip") as package:
        assert package.getinfo("a").file_size == stated
