"""HTML pages, saved or exported. Source: HTML Living Standard, as html5lib-minded browsers read it."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag

from archiver.incidents.document import Document, Paragraph, Run, merge_runs
from archiver.incidents.rows import Unreadable

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"),
        *(
            "hr",
            "legend",
            "li",
            "main",
            "nav",
            "ol",
            "p",
            "pre",
            "section",
            "summary",
            "table",
            "tbody",
            "td",
        ),
        *("tfoot", "th", "thead", "tr", "ul"),
    }
)
_LEFT_OUT = frozenset(
    {
        *("script", "style", "template", "noscript", "nav", "footer", "aside", "head", "iframe", "svg"),
        *("object", "button", "select"),
    }
)
_DECLARED = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
MAX_DAMAGE = 0.02
"""Share of non-ASCII bytes that may be damaged before UTF-8 is given up."""


def read(data: bytes) -> Document:
    """Return the paragraphs of a page: of its ``main`` or ``article`` where it has one alone.

    Raises:
        Unreadable: Not HTML, or not text.
    """
    text, notes = _decoded(data)
    if "<" not in text:
        raise Unreadable("expected HTML, got text without any tag", "save it as .txt")
    with warnings.catch_warnings(action="ignore"):
        soup = BeautifulSoup(text, "lxml")
    return Document("html", tuple(_Walk(soup).paragraphs()), notes)


def _decoded(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the text: by its mark, as declared, as UTF-8, as UTF-8 with damage, or as Windows-1251."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(name, "replace"), ()
    if b"\0" in data:
        raise Unreadable("encoding: expected HTML text, got binary data", "save the page again as HTML")
    found = _DECLARED.search(data[:4096])
    declared = found[1].decode("ascii").lower() if found else ""
    for name in [declared, "utf-8"] if declared else ["utf-8"]:
        try:
            return data.decode(name), ()
        except (UnicodeDecodeError, LookupError):
            continue
    beyond_ascii = sum(byte > 127 for byte in data)
    text = data.decode("utf-8", "replace")
    if text.count("\N{REPLACEMENT CHARACTER}") <= MAX_DAMAGE * beyond_ascii:
        return text, ("some characters are damaged: it is UTF-8 with broken bytes in it",)
    return data.decode("windows-1251", "replace"), ("read as Windows-1251, since it is not UTF-8",)


class _Walk:
    """Goes through the tree once, without recursion: a page may be nested as deep as it likes."""

    def __init__(self, soup: BeautifulSoup) -> None:
        self._root = _content_of(soup)
        self._ids = {str(tag["id"]): tag for tag in soup.find_all(id=True)}
        self._numbers: dict[int, int] = {}

    def paragraphs(self) -> Iterator[Paragraph]:
        runs: list[Run] = []
        heading = 0
        link: Tag | None = None
        for node, leaving in _steps(self._root):
            if isinstance(node, Tag):
                if node.name in _BLOCKS:
                    if not _is_mark(runs) and _has_words(runs):
                        yield Paragraph(merge_runs(runs), heading)
                    # The number of an item stays for the paragraph inside the item.
                    kept = runs if _is_mark(runs) and not leaving else []
                    runs = self._mark(node) or kept if not leaving else []
                    heading = int(node.name[1]) if re.fullmatch("h[1-6]", node.name) and not leaving else 0
                elif node.name == "a" and node.has_attr("href"):
                    link = None if leaving else node
                    if leaving and not node.get_text().strip():
                        runs.append(Run(_alternative(node), self._target(node)))
                elif node.name == "br" and not leaving:
                    runs.append(Run("\n", self._target(link) if link else None))
            elif not isinstance(node, PreformattedString):
                runs.append(Run(str(node), self._target(link) if link else None))
        if _has_words(runs):
            yield Paragraph(merge_runs(runs), heading)

    def _mark(self, node: Tag) -> list[Run]:
        """Return the number that a browser puts before an item of a numbered list."""
        if node.name != "li" or node.parent is None or node.parent.name != "ol":
            return []
        listed = id(node.parent)
        first = _integer(node.parent.get("start"), 1)
        number = _integer(node.get("value"), self._numbers.get(listed, first - 1) + 1)
        self._numbers[listed] = number
        return [Run(f"{number}. ")]

    def _target(self, link: Tag) -> str | None:
        """Return where a link leads; None for one to a place in the document itself, such as a note."""
        target = str(link.get("href") or "").strip()
        return None if target[:1] == "#" and target[1:] in self._ids else target


def _has_words(runs: list[Run]) -> bool:
    return any(run.text.strip() or run.target is not None for run in runs)


def _is_mark(runs: list[Run]) -> bool:
    words = "".join(run.text for run in runs).strip()
    return bool(re.fullmatch(r"\d+\.", words)) and all(run.target is None for run in runs)


def _content_of(soup: BeautifulSoup) -> Tag:
    for name in ("main", "article"):
        found = soup.find_all(name)
        if len(found) == 1 and isinstance(found[0], Tag) and found[0].get_text().strip():
            return found[0]
    return soup.body or soup


def _steps(root: Tag) -> Iterator[tuple[Tag | NavigableString, bool]]:
    """Yield each node as it is come to, and each tag once more as it is left."""
    stack: list[tuple[Tag | NavigableString, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        if isinstance(node, Tag) and node.name in _LEFT_OUT:
            continue
        yield node, leaving
        if isinstance(node, Tag) and not leaving:
            stack.append((node, True))
            stack.extend(
                (child, False)
                for child in reversed(node.contents)
                if isinstance(child, (Tag, NavigableString))
            )


def _alternative(link: Tag) -> str:
    image = link.find("img")
    return str(image.get("alt") or "") if isinstance(image, Tag) else ""


def _integer(value: object, default: int) -> int:
    try:
        return int(str(value))
    except ValueError:
        return default
