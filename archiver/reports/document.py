"""A document to be printed: sections of few kinds of blocks, and the PDF that typst makes of them.

The template gets everything as data, so that nothing a page says can become markup. The same document gives
the same bytes: no clock, no random value and no file name of this machine goes into it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import typst

from archiver.assets import FONTS, asset
from archiver.errors import ArchiverError

MAX_TOKEN_CHARS = 72
"""A word longer than that may be broken anywhere."""
BREAK = "\N{ZERO WIDTH SPACE}"
_CONTROLS = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), 127, 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}"
)
# Marks that reorder a line would let a page rewrite ours.
_CONTROLS |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "")


class DocumentNotMade(ArchiverError):
    """The PDF could not be made."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of a table of facts.

    Args:
        label: What.
        value: As text.
        exact: True for digests and addresses, which are read character by character.
    """

    label: str
    value: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture over the width of the page.

    Args:
        path: File name beside the template: PNG.
        caption: Below it.
    """

    path: str
    caption: str


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a section.

    Args:
        kind: ``facts``, ``paragraphs``, ``steps``, ``table``, ``pictures``, ``figure``, ``lines``,
            ``code``, ``text``, ``note`` or ``heading``.
        content: What the template expects for that kind: a list of facts, texts, rows (head first),
            pictures; the SVG of a figure.
    """

    kind: str
    content: Any


@dataclass(frozen=True, slots=True)
class Section:
    """A section with a heading; *own_page* starts it on a new one."""

    title: str
    blocks: list[Block]
    own_page: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside the PDF."""

    name: str
    media_type: str
    description: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document.

    Args:
        title: Of the document.
        language: BCP 47.
        created_at: The date its metadata bear, aware.
        header: Left and right text above every page.
        footer: Text below every page; ``{page}`` and ``{pages}`` stand in *page_of*.
        page_of: How a page is numbered.
        sections: In order, numbered from 1.
        qr: SVG of a code on the first page, or empty.
        attachments: Files inside.
    """

    title: str
    language: str
    created_at: datetime
    header: tuple[str, str]
    footer: str
    page_of: str
    sections: list[Section]
    qr: str = ""
    attachments: list[Attachment] = field(default_factory=list)


def printable(text: str, max_token_chars: int = MAX_TOKEN_CHARS) -> str:
    """Return *text* as it may stand in a document: no controls, no direction marks, long words breakable."""
    cleaned = text.translate(_CONTROLS)
    if len(cleaned) <= max_token_chars:
        return cleaned
    return " ".join(BREAK.join(word) if len(word) > max_token_chars else word for word in cleaned.split(" "))


def render_pdf(document: Document, folder: Path, output: Path) -> None:
    """Write *document* as PDF/A-3b to *output*.

    Args:
        document: What to print.
        folder: Holds the pictures that it names; nothing in it is changed.
        output: The PDF; replaced when it is there.

    Raises:
        DocumentNotMade: E221.
        EnvironmentUnfit: E119, no fonts.
    """
    fonts = [asset(name).parent for name in FONTS]
    with tempfile.TemporaryDirectory(prefix="archiver-print-") as name:
        root = Path(name)
        template = (resources.files("archiver.reports") / "templates" / "document.typ").read_bytes()
        (root / "document.typ").write_bytes(template)
        (root / "pictures").symlink_to(folder.absolute())
        for number, one in enumerate(document.attachments):
            (root / f"attachment-{number}").write_bytes(one.data)
        (root / "document.json").write_text(json.dumps(_plain(document)), encoding="utf-8")
        made = root / "made.pdf"
        try:
            typst.compile(
                str(root / "document.typ"),
                output=str(made),
                root=str(root),
                font_paths=sorted({str(path) for path in fonts}),
                pdf_standards="a-3b",
                timestamp=int(document.created_at.timestamp()),
            )
            part = output.with_name(f"{output.name}.part")
            shutil.copyfile(made, part)
            part.replace(output)
        except (typst.TypstError, RuntimeError, OSError) as error:
            raise DocumentNotMade(
                f"document {output.name}: not made: {str(error)[:300]}",
                code="E221",
                hint="check that the folder can be written; report it if it can",
            ) from error


def _plain(document: Document) -> dict[str, Any]:
    values = asdict(document)
    values["attachments"] = [
        {name: value for name, value in one.items() if name != "data"} for one in values["attachments"]
    ]
    values["created_at"] = document.created_at.isoformat()
    return values
