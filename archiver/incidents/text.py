"""Text of a register from its bytes."""

from __future__ import annotations

import codecs

from archiver.incidents.rows import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FINE_CONTROLS = "\t\r\n\f"


def decode_text(data: bytes) -> tuple[str, str]:
    """Return the text of *data* and the name of the encoding it was read in.

    A byte order mark decides; then UTF-8, which other text hardly ever happens to be; then
    Windows-1251, which Cyrillic spreadsheets are exported in. A guess by letter frequency would be
    wrong on the short Latin tables that registers are.

    Raises:
        Unreadable: Neither, or binary.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    for name in [encoding] if encoding else ["utf-8", "windows-1251"]:
        try:
            text = data.decode("utf-8-sig" if name == "utf-8" else name)
        except UnicodeDecodeError:
            continue
        if any(char < " " and char not in _FINE_CONTROLS for char in set(text)):
            break
        return text, name
    raise Unreadable(
        "encoding: expected text in UTF-8, UTF-16 or Windows-1251, got binary data", "save it as UTF-8"
    )
