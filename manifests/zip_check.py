"""Strict reading of a ZIP: one meaning for every byte, or a finding.

Readers of ZIP differ in what they believe: the central directory, the local headers, or whatever they
come upon. Evidence may not look different to two of them, so here both must agree on everything, the
members must lie end to end from the first byte to the central directory, and whatever a writer of ours
does not need (encryption, data descriptors, comments, extra fields, links, several disks) is refused.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from manifests.findings import Code, Finding
from manifests.inflate import PIECE_BYTES, drained
from manifests.proof import ProofError

MIB = 1024 * 1024
MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 8 * MIB
MAX_INFLATED_BYTES = 1024 * MIB

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}")
STORED, DEFLATED = 0, 8
UNIX = 3
VERSIONS = (20, 45)
"""2.0 for plain members, 4.5 for those with zip64 fields."""
NEEDS = tuple((version, 0) for version in VERSIONS)
PLAIN_FILE = (stat.S_IFREG | 0o644) << 16
UTF8_FLAG = 0x0800
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s2B4H3L2H")


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the central directory states it.

    Args:
        name: Its name.
        version: Version of the format that it needs, times ten.
        method: 0 stored, 8 deflated.
        flags: General purpose bits.
        moment: DOS time and date, as they stand.
        crc32: CRC-32 of the unpacked bytes.
        packed_bytes: Length in the ZIP.
        bytes: Length unpacked.
        header_offset: Where its local header begins.
        data_offset: Where its data begins; 0 until the local header was read.
    """

    name: str
    version: int
    method: int
    flags: int
    moment: tuple[int, int]
    crc32: int
    packed_bytes: int
    bytes: int
    header_offset: int
    data_offset: int = 0

    @property
    def stored(self) -> bool:
        """Whether the bytes lie in the ZIP as they are."""
        return self.method == STORED


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, and how many members it names."""

    offset: int
    bytes: int
    count: int


def check_zip(stream: BinaryIO, size_bytes: int) -> tuple[list[Member], list[Finding]]:
    """Check the structure of a ZIP; the data of its members is not read.

    Args:
        stream: The ZIP, seekable.
        size_bytes: Its length.

    Returns:
        The members whose headers agree, in the order of their offsets, and what is wrong.
        No members when the central directory cannot be read.

    Raises:
        OSError: The stream could not be read.
    """
    try:
        directory = _find_directory(stream, size_bytes)
        stated = _read_directory(stream, directory)
    except ProofError as error:
        return [], [error.finding]
    findings = _check_names(stated)
    members = []
    for member in sorted(stated, key=lambda item: item.header_offset):
        try:
            _check_features(member)
            members.append(_with_local_header(stream, member, directory.offset))
        except ProofError as error:
            findings.append(error.finding)
    # With a member left out, the bytes it holds would be reported once more as hidden.
    if len(members) == len(stated):
        findings += _check_layout(members, directory.offset)
    return members, findings


def member_pieces(stream: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the unpacked bytes of *member* in pieces, and check length and CRC-32 at the end.

    Args:
        stream: The ZIP; nobody else may move it meanwhile.
        member: As ``check_zip`` gave it.

    Raises:
        ProofError: ``zip-checksum``, ``zip-malformed`` or ``zip-too-large``.
        OSError: The stream could not be read.
    """
    crc, size = 0, 0
    raw = _raw_pieces(stream, member)
    for piece in raw if member.stored else _inflated(raw, member):
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        yield piece
    if (size, crc) != (member.bytes, member.crc32):
        raise ProofError(
            Code.ZIP_CHECKSUM,
            f"member {member.name}",
            f"{member.bytes} bytes, CRC-32 {member.crc32:08x}",
            f"{size} bytes, CRC-32 {crc:08x}",
        )


def _raw_pieces(stream: BinaryIO, member: Member) -> Iterator[bytes]:
    stream.seek(member.data_offset)
    left = member.packed_bytes
    while left:
        piece = stream.read(min(left, PIECE_BYTES))
        if not piece:
            raise ProofError(
                Code.ZIP_MALFORMED, f"member {member.name}", f"{left} more bytes", "the end of the file"
            )
        left -= len(piece)
        yield piece


def _inflated(raw: Iterator[bytes], member: Member) -> Iterator[bytes]:
    if member.bytes > MAX_INFLATED_BYTES:
        raise ProofError(
            Code.ZIP_TOO_LARGE,
            f"member {member.name}",
            f"at most {MAX_INFLATED_BYTES} bytes",
            f"{member.bytes} bytes",
        )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = member.bytes
    try:
        for packed in raw:
            for piece in drained(inflater, packed):
                left -= len(piece)
                if left < 0:
                    raise _not_deflate(member, "more bytes than stated")
                yield piece
            if inflater.unused_data:
                raise _not_deflate(member, "bytes after its end")
    except zlib.error as error:
        raise _not_deflate(member, str(error)) from error
    if not inflater.eof:
        raise _not_deflate(member, "no end")


def _not_deflate(member: Member, got: str) -> ProofError:
    return ProofError(Code.ZIP_MALFORMED, f"member {member.name}", "one whole deflate stream", got)


def _find_directory(stream: BinaryIO, size_bytes: int) -> Directory:
    at = size_bytes - _END.size
    fields = _unpack(stream, _END, at, b"PK\x05\x06", "end of central directory at the very end")
    disk, first_disk, here, count, directory_bytes, offset, comment = fields
    if (disk, first_disk, comment) != (0, 0, 0) or here != count:
        raise _malformed("one disk and no comment", f"{disk}, {first_disk}, {here}/{count}, {comment}")
    directory = Directory(offset, directory_bytes, count)
    if count == FULL_16 or FULL_32 in (directory_bytes, offset):
        at, directory = _find_directory_64(stream, at, directory)
    if directory.count > MAX_MEMBERS or directory.bytes > MAX_DIRECTORY_BYTES:
        raise _malformed(
            f"at most {MAX_MEMBERS} members, {MAX_DIRECTORY_BYTES} bytes of directory",
            f"{directory.count} members, {directory.bytes} bytes",
        )
    if directory.offset + directory.bytes != at:
        raise ProofError(
            Code.ZIP_HIDDEN_BYTES,
            "zip central directory",
            f"its end at byte {at}",
            f"its end at byte {directory.offset + directory.bytes}",
        )
    return directory


def _find_directory_64(stream: BinaryIO, end: int, small: Directory) -> tuple[int, Directory]:
    at = end - _END64_LOCATOR.size
    disk, offset_64, disks = _unpack(stream, _END64_LOCATOR, at, b"PK\x06\x07", "zip64 locator")
    at -= _END64.size
    fields = _unpack(stream, _END64, at, b"PK\x06\x06", "zip64 end of central directory")
    own_bytes, _, _, this_disk, first_disk, here, count, directory_bytes, offset = fields
    if (disk, disks, this_disk, first_disk) != (0, 1, 0, 0) or here != count:
        raise _malformed("one disk", f"{disk}, {disks}, {this_disk}, {first_disk}, {here}/{count}")
    if offset_64 != at or own_bytes != _END64.size - 12:
        raise _malformed(f"zip64 end of central directory at byte {at}", f"byte {offset_64}")
    large = Directory(offset, directory_bytes, count)
    pairs = (
        (small.count, large.count, FULL_16),
        (small.bytes, large.bytes, FULL_32),
        (small.offset, large.offset, FULL_32),
    )
    for short, long, full in pairs:
        if short != min(long, full):
            raise ProofError(
                Code.ZIP_HEADERS_DISAGREE, "zip64 end of central directory", str(short), str(long)
            )
    return at, large


def _read_directory(stream: BinaryIO, directory: Directory) -> list[Member]:
    stream.seek(directory.offset)
    data = stream.read(directory.bytes)
    if len(data) != directory.bytes:
        raise _malformed(f"{directory.bytes} bytes of directory", f"{len(data)}")
    members = []
    at = 0
    for _ in range(directory.count):
        member, at = _read_central(data, at)
        members.append(member)
    if at != len(data):
        raise _malformed(f"{directory.count} members", f"{len(data) - at} bytes more")
    return members


def _read_central(data: bytes, at: int) -> tuple[Member, int]:
    if len(data) < at + _CENTRAL.size or data[at : at + 4] != b"PK\x01\x02":
        raise _malformed("a central header", data[at : at + 4].hex() or "the end")
    fields = _CENTRAL.unpack_from(data, at)
    made_by, needs = fields[1:3], fields[3:5]
    flags, method, time, date, crc, packed, size = fields[5:12]
    name_bytes, extra_bytes, comment_bytes, disk, internal, external, offset = fields[12:]
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_bytes
    end = extra_at + extra_bytes
    if end + comment_bytes > len(data):
        raise _malformed("a whole central header", "the end")
    name = data[name_at:extra_at].decode("utf-8", "surrogateescape")
    facts = (made_by[0] in VERSIONS, made_by[1], needs in NEEDS, comment_bytes, disk, internal, external)
    if facts != (True, UNIX, True, 0, 0, 0, PLAIN_FILE):
        raise ProofError(
            Code.ZIP_FEATURE_REFUSED,
            f"member {name}",
            "a plain file as our writer makes it",
            f"made by {made_by}, needs {needs}, comment {comment_bytes} bytes, disk {disk}, "
            f"attributes {internal:x} {external:08x}",
        )
    size, packed, offset = _widened(name, data[extra_at:end], (size, packed, offset))
    return Member(name, needs[0], method, flags, (time, date), crc, packed, size, offset), end


def _widened(name: str, extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """Put 64-bit values from the zip64 field in place of those that are full (APPNOTE 4.5.3)."""
    full = [value == FULL_32 for value in values]
    if not extra and not any(full):
        return values
    needed = struct.Struct(f"<2H{sum(full)}Q")
    header = (1, needed.size - 4)
    if len(extra) != needed.size or not any(full) or struct.unpack_from("<2H", extra) != header:
        raise ProofError(
            Code.ZIP_FEATURE_REFUSED,
            f"member {name}",
            f"a zip64 field of {sum(full)} values and no other extra field",
            f"{len(extra)} bytes of extra fields",
        )
    wide = iter(needed.unpack(extra)[2:])
    return tuple(next(wide) if is_full else value for value, is_full in zip(values, full, strict=True))


def _check_names(members: list[Member]) -> list[Finding]:
    findings = []
    seen: set[str] = set()
    for member in members:
        if not NAME.fullmatch(member.name):
            findings.append(Finding(Code.ZIP_UNSAFE_NAME, f"member {member.name}"))
        if member.name.casefold() in seen:
            findings.append(Finding(Code.ZIP_DUPLICATE_MEMBER, f"member {member.name}", "once", "twice"))
        seen.add(member.name.casefold())
    return findings


def _check_features(member: Member) -> None:
    if member.flags & ~UTF8_FLAG or member.method not in (STORED, DEFLATED):
        raise ProofError(
            Code.ZIP_FEATURE_REFUSED,
            f"member {member.name}",
            "stored or deflated, flags 0",
            f"method {member.method}, flags {member.flags:#06x}",
        )
    if member.stored and member.packed_bytes != member.bytes:
        raise ProofError(
            Code.ZIP_HEADERS_DISAGREE,
            f"member {member.name}",
            f"{member.packed_bytes} bytes as stored",
            f"{member.bytes} bytes",
        )


def _with_local_header(stream: BinaryIO, member: Member, limit: int) -> Member:
    subject = f"member {member.name}"
    fields = _unpack(stream, _LOCAL, member.header_offset, b"PK\x03\x04", f"local header of {subject}")
    flags, method, time, date, crc, packed, size, name_bytes, extra_bytes = fields[2:]
    rest = stream.read(name_bytes + extra_bytes)
    name, extra = rest[:name_bytes], rest[name_bytes:]
    size, packed = _widened(member.name, extra, (size, packed))
    ours = (
        member.name.encode("utf-8", "surrogateescape"),
        (member.version, 0),
        member.flags,
        member.method,
        *member.moment,
        member.crc32,
        member.packed_bytes,
        member.bytes,
    )
    local = (name, fields[:2], flags, method, time, date, crc, packed, size)
    if ours != local:
        words = ["name", "version", "flags", "method", "time", "date", "crc", "packed_bytes", "bytes"]
        differing = [(w, a, b) for w, a, b in zip(words, ours, local, strict=True) if a != b]
        raise ProofError(
            Code.ZIP_HEADERS_DISAGREE,
            subject,
            ", ".join(f"{word} {a!r}" for word, a, _ in differing),
            ", ".join(f"{word} {b!r}" for word, _, b in differing),
        )
    data_offset = member.header_offset + _LOCAL.size + len(rest)
    if data_offset + packed > limit:
        raise ProofError(
            Code.ZIP_OVERLAP, subject, f"its end before byte {limit}", f"byte {data_offset + packed}"
        )
    return replace(member, data_offset=data_offset)


def _check_layout(members: list[Member], directory_offset: int) -> Iterator[Finding]:
    end = 0
    for member in members:
        if member.header_offset != end:
            code = Code.ZIP_HIDDEN_BYTES if member.header_offset > end else Code.ZIP_OVERLAP
            yield Finding(code, f"member {member.name}", f"at byte {end}", f"byte {member.header_offset}")
        end = max(end, member.data_offset + member.packed_bytes)
    if end != directory_offset:
        yield Finding(
            Code.ZIP_HIDDEN_BYTES, "zip central directory", f"at byte {end}", f"byte {directory_offset}"
        )


def _unpack(stream: BinaryIO, form: struct.Struct, at: int, signature: bytes, what: str) -> tuple[int, ...]:
    data = b""
    if at >= 0:
        stream.seek(at)
        data = stream.read(form.size)
    if len(data) != form.size or data[:4] != signature:
        raise _malformed(what, data[:4].hex() or "no such place")
    return form.unpack(data)[1:]


def _malformed(expected: str, got: str) -> ProofError:
    return ProofError(Code.ZIP_MALFORMED, "zip", expected, got)
