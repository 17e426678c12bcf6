"""Documents to import: one module a format, each with ``read(data) -> Document``; told by the file's name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from archiver.errors import UsageError
from archiver.incidents.document import Document
from archiver.incidents.rows import MAX_REGISTER_BYTES, Unreadable

IMPORTERS = MappingProxyType(
    {
        ".md": "from_markdown",
        ".markdown": "from_markdown",
        ".txt": "from_markdown",
        ".html": "from_html",
        ".htm": "from_html",
        ".docx": "from_docx",
        ".pdf": "from_pdf",
        ".xlsx": "from_xlsx",
        ".csv": "from_csv",
        ".tsv": "from_csv",
    }
)
"""End of a file's name, and the module that reads it; loaded when it is needed."""

OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def read_document(path: Path) -> tuple[Document, bytes]:
    """Return the document at *path*, and its bytes.

    Raises:
        UsageError: E243, not there, of a format we do not read, protected, damaged, or without any text.
    """
    try:
        reader = _reader(path)
        data = _read(path)
        document = _with_text(reader(data))
    except Unreadable as error:
        raise UsageError(f"document {path.name}: {error.what}", code="E243", hint=error.hint) from error
    return document, data


def _reader(path: Path) -> Callable[[bytes], Document]:
    name = IMPORTERS.get(path.suffix.lower())
    if name is None:
        got = path.suffix or "none"
        raise Unreadable(f"name: expected it to end in {' '.join(IMPORTERS)}, got {got}", "save it as DOCX")
    reader: Callable[[bytes], Document] = importlib.import_module(f"{__name__}.{name}").read
    return reader


def _with_text(document: Document) -> Document:
    if not any(paragraph.text.strip() for paragraph in document.paragraphs):
        raise Unreadable("expected text, got a document without any", "check that it is the right file")
    return document


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REGISTER_BYTES + 1)
    except OSError as error:
        what = f"expected a readable file, got {error.strerror}"
        raise Unreadable(what, "check the path and its permissions") from error
    if len(data) > MAX_REGISTER_BYTES:
        raise Unreadable(f"size: expected at most {MAX_REGISTER_BYTES} bytes, got more", "split it")
    if not data.strip():
        raise Unreadable("expected text, got an empty file", "check that it was saved")
    if data.startswith(OLE_MAGIC):
        if _ENCRYPTED in data:
            raise Unreadable(
                "expected an open document, got one protected by a password", "save it without a password"
            )
        raise Unreadable(
            "expected DOCX or XLSX, got a file of the older Word or Excel",
            "open it and save it as DOCX or XLSX",
        )
    return data
