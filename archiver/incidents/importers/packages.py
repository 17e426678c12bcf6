"""What DOCX and XLSX have in common: a ZIP whose sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import zipfile

from archiver.incidents.rows import KIB, Unreadable

MAX_UNPACKED_BYTES = 256 * KIB * KIB
MAX_PART_BYTES = 64 * KIB * KIB


def check_package(data: bytes, kind: str, part: str) -> None:
    """Refuse what is no package with *part* in it, or would unpack to more than a document is.

    Raises:
        Unreadable: So.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Unreadable(
            f"expected a {kind} file, got something else: {error}", f"save it again as {kind}"
        ) from error
    total = sum(member.file_size for member in members)
    largest = max(
        (member.file_size for member in members if member.filename.endswith((".xml", ".rels"))), default=0
    )
    if total > MAX_UNPACKED_BYTES or largest > MAX_PART_BYTES:
        raise Unreadable(
            f"unpacked: expected at most {MAX_UNPACKED_BYTES} bytes ({MAX_PART_BYTES} a part), got {total}",
            "do not open it; ask where it comes from",
        )
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable(
            "expected an open document, got one protected by a password", "save it without a password"
        )
    if part not in {member.filename for member in members}:
        raise Unreadable(f"expected a {kind} file, got another kind of ZIP", f"save it as {kind}")
