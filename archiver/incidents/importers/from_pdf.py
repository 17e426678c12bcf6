"""PDF: words and link annotations by their place on the page, put together to paragraphs.

A paragraph ends where a gap, an indent or a change of size says so, or where the next line's first word would
still have found room. Lines that come again on most pages are running heads.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from archiver.incidents.document import Document, Paragraph, Run, merge_runs
from archiver.incidents.rows import Unreadable

MAX_PAGES = 2_000
GAP = 1.35
"""Of the usual distance between lines: more than that is a new paragraph."""
HEADING_SIZE = 1.12
"""Of the usual size of letters: more than that is a heading."""
ROOM_PT = 1.5
INDENT_PT = 6

_PAGE_NUMBER = re.compile(
    r"(?:page|стр\.?|бет)?\s*[-–—]?\s*\d{1,4}\s*(?:(?:/|of|из)\s*\d{1,4})?\s*[-–—]?", re.IGNORECASE
)
_ENDS = re.compile(r"[.!?…:;][\"'’”»)\]]*$")
_BLOCK_TYPES = frozenset(
    {"P", "H", "H1", "H2", "H3", "H4", "H5", "H6", "LBody", "TD", "TH", "Caption", "Note"}
)
_LIST_MARK = re.compile(r"\s*(?:\d{1,3}[.)]|[-–—•*])\s?")
_BROKEN_WORD = re.compile(r"(\w+)[-\u2010]$")


_Blocks = dict[tuple[int, int | None], int]
"""Page and number of marked content, and the paragraph it is part of."""


@dataclass(slots=True)
class _Line:
    """A line of a page: its runs, its place in points from the upper left, the size of its letters.

    *block* is the paragraph that a tagged PDF says it is of.
    """

    runs: tuple[Run, ...]
    page: int
    x0: float
    x1: float
    top: float
    bottom: float
    size: float
    first_word: float
    page_height: float
    block: int | None

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs)


def read(data: bytes) -> Document:
    """Return the paragraphs of a PDF.

    Raises:
        Unreadable: No PDF, damaged, protected, or pictures of pages without text.
    """
    import pdfplumber  # noqa: PLC0415  # slow to import, and other formats do without it
    from pdfminer.pdfdocument import PDFPasswordIncorrect  # noqa: PLC0415

    if b"%PDF-" not in data[:1024]:
        raise Unreadable("expected a PDF, got something else", "save it again as PDF")
    try:
        with pdfplumber.open(io.BytesIO(data)) as pdf:
            if len(pdf.pages) > MAX_PAGES:
                raise Unreadable(f"pages: expected at most {MAX_PAGES}, got {len(pdf.pages)}", "split it")  # noqa: TRY301  # one place turns all of these into errors
            lines: list[_Line] = []
            pictures = 0
            blocks = _blocks_of(pdf)
            for page in pdf.pages:
                lines += _lines_of(page, blocks)
                pictures += len(page.images)
                page.close()
    except Unreadable:
        raise
    except Exception as error:  # pdfminer raises whatever it meets in a broken file
        if isinstance(error, PDFPasswordIncorrect) or "PasswordIncorrect" in repr(error):
            raise Unreadable(
                "expected an open PDF, got one protected by a password", "save it without"
            ) from error
        raise Unreadable(f"expected a PDF: {type(error).__name__}", "open it and save it again") from error
    if not any(line.text.strip() for line in lines):
        got = "pictures of pages (a scan)" if pictures else "pages without any"
        raise Unreadable(
            f"expected text, got {got}", "run it through text recognition (OCR), or take the original"
        )
    return Document("pdf", tuple(_paragraphs(_without_running_heads(lines))))


def _blocks_of(pdf: Any) -> _Blocks:
    """Return the paragraph that each marked content, by page and number, is part of; empty when untagged."""
    blocks: _Blocks = {}
    stack = [(element, 0) for element in reversed(pdf.structure_tree)]
    count = 0
    while stack:
        element, block = stack.pop()
        if element["type"] in _BLOCK_TYPES:
            count += 1
            block = count
        page, last = element.get("page_number") or 0, -1
        for number in element.get("mcids", ()) if block else ():
            # Numbers begin anew on each page, and pdfplumber names the first page alone.
            page, last = page + (number <= last), number
            blocks[page, number] = block
        stack += [(child, block) for child in reversed(element.get("children", ()))]
    return blocks


def _lines_of(page: Any, blocks: _Blocks) -> Iterator[_Line]:
    links = [_Link(annotation) for annotation in page.annots if _is_link(annotation)]
    words = page.extract_words(return_chars=True, extra_attrs=["size"], keep_blank_chars=False, y_tolerance=3)
    words.sort(key=lambda word: word["bottom"])
    groups: list[list[dict[str, Any]]] = []
    for word in words:
        height = word["bottom"] - word["top"]
        if groups and word["bottom"] - groups[-1][0]["bottom"] < height / 2:
            groups[-1].append(word)
        else:
            groups.append([word])
    for group in groups:
        group.sort(key=lambda word: word["x0"])
        yield _line(group, links, page, blocks)


class _Link:
    """Where on the page a link lies, and where it leads."""

    def __init__(self, annotation: dict[str, Any]) -> None:
        self.target = annotation.get("uri") or "#"
        self._box = tuple(float(annotation[name]) for name in ("x0", "x1", "top", "bottom"))

    def holds(self, char: dict[str, Any]) -> bool:
        x, y = (char["x0"] + char["x1"]) / 2, (char["top"] + char["bottom"]) / 2
        x0, x1, top, bottom = self._box
        return bool(x0 <= x <= x1 and top <= y <= bottom)


def _is_link(annotation: dict[str, Any]) -> bool:
    subtype = (annotation.get("data") or {}).get("Subtype")
    return annotation.get("uri") is not None or str(getattr(subtype, "name", subtype)) == "Link"


def _line(words: Sequence[dict[str, Any]], links: Sequence[_Link], page: Any, blocks: _Blocks) -> _Line:
    runs: list[Run] = []
    before: str | None = None
    for word in words:
        # A hyphen that is drawn is one, though some makers of PDFs call it soft.
        letters = [(char["text"].replace("\u00ad", "-"), _target_at(char, links)) for char in word["chars"]]
        first = letters[0][1]
        if runs:
            runs.append(Run(" ", before if before == first else None))
        runs += [Run("".join(text for text, _ in part), target) for target, part in _by_target(letters)]
        before = letters[-1][1]
    return _Line(
        _as_one(runs),
        page.page_number,
        words[0]["x0"],
        max(word["x1"] for word in words),
        min(word["top"] for word in words),
        max(word["bottom"] for word in words),
        max(word["size"] for word in words),
        words[0]["x1"] - words[0]["x0"],
        float(page.height),
        blocks.get((page.page_number, words[0]["chars"][0].get("mcid"))),
    )


def _by_target(
    letters: Iterable[tuple[str, str | None]],
) -> Iterator[tuple[str | None, list[tuple[str, str | None]]]]:
    for target, part in itertools.groupby(letters, key=lambda letter: letter[1]):
        yield target, list(part)


def _target_at(char: dict[str, Any], links: Sequence[_Link]) -> str | None:
    return next((link.target for link in links if link.holds(char)), None)


def _as_one(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Put touching runs of one target together: what is cut on a page is cut by its lines."""
    merged: list[Run] = []
    for run in runs:
        if merged and merged[-1].target == run.target:
            merged[-1] = Run(merged[-1].text + run.text, run.target)
        else:
            merged.append(run)
    return tuple(merged)


def _without_running_heads(lines: Sequence[_Line]) -> list[_Line]:
    """Leave out what comes again at the edge of most pages, and page numbers alone at an edge."""
    pages = {line.page for line in lines}
    edges = [line for line in lines if _at_edge(line)]
    often = Counter(key for key in {(line.page, *_edge_key(line)) for line in edges})
    seen = Counter((place, text) for _, place, text in often)
    running = {key for key, count in seen.items() if count >= max(2, len(pages) / 2)}
    return [
        line
        for line in lines
        if not (_at_edge(line) and (_edge_key(line) in running or _is_page_number(line, len(pages))))
    ]


def _at_edge(line: _Line) -> bool:
    return line.bottom < line.page_height * 0.1 or line.top > line.page_height * 0.9


def _edge_key(line: _Line) -> tuple[int, str]:
    return round(line.top / 4), re.sub(r"\d+", "#", line.text).strip()


def _is_page_number(line: _Line, pages: int) -> bool:
    return pages > 1 and bool(_PAGE_NUMBER.fullmatch(line.text.strip()))


def _paragraphs(lines: Sequence[_Line]) -> Iterator[Paragraph]:
    if not lines:
        return
    body = Counter(round(line.size, 1) for line in lines for _ in line.text).most_common(1)[0][0]
    gaps = [
        b.top - a.top
        for a, b in itertools.pairwise(lines)
        if a.page == b.page and 0 < b.top - a.top < 4 * body
    ]
    pitch = median(gaps) if gaps else body * 1.2
    tight = [gap for gap in gaps if gap < pitch * GAP] or [pitch]
    pitch = median(tight)
    right = max(line.x1 for line in lines)
    left = Counter(round(line.x0) for line in lines).most_common(1)[0][0]
    vocabulary = _Vocabulary(lines)
    part: list[_Line] = []
    for line in lines:
        if part and _breaks(part[-1], line, pitch, right, left):
            yield _paragraph(part, body, vocabulary)
            part = []
        part.append(line)
    yield _paragraph(part, body, vocabulary)


def _breaks(above: _Line, below: _Line, pitch: float, right: float, left: float) -> bool:
    """Whether *below* begins a paragraph."""
    if abs(above.size - below.size) > 0.1 * above.size:
        return True
    space = above.size * 0.25
    if above.x1 + space + below.first_word + ROOM_PT < right:
        return True
    if below.page != above.page:
        same = above.block is not None and above.block == below.block
        return not same and bool(_ENDS.search(above.text.rstrip()))
    indented = below.x0 > max(left, above.x0) + INDENT_PT and not _LIST_MARK.match(above.text)
    return below.top - above.top > pitch * GAP or indented


def _paragraph(lines: Sequence[_Line], body: float, vocabulary: _Vocabulary) -> Paragraph:
    runs: list[Run] = []
    for line in lines:
        if runs:
            _append_line(runs, line, vocabulary)
        else:
            runs += line.runs
    heading = 1 if min(line.size for line in lines) > body * HEADING_SIZE else 0
    return Paragraph(_as_one(merge_runs(runs)), heading)


def _append_line(runs: list[Run], line: _Line, vocabulary: _Vocabulary) -> None:
    last, first = runs[-1], line.runs[0]
    found = _BROKEN_WORD.search(last.text)
    rest = re.match(r"\w+", first.text)
    if found and rest:
        compound = first.text[rest.end() :].startswith("-")
        keep = last.text[-1] == "-" and (compound or vocabulary.keeps_hyphen(found[1], rest[0]))
        runs[-1] = Run(last.text if keep else last.text[:-1], last.target)
    elif not re.search(r"\w[/–—]$", last.text) or not first.text[:1].isalnum():
        runs.append(Run(" ", last.target if last.target == first.target else None))
    runs += line.runs


class _Vocabulary:
    """Words of the document, by which it is told what a hyphen at the end of a line belongs to."""

    def __init__(self, lines: Sequence[_Line]) -> None:
        text = "\n".join(line.text for line in lines).casefold()
        self._words = Counter(re.findall(r"\w+(?:-\w+)*", text))
        self._parts = set(re.findall(r"\w+", re.sub(r"\w+-\n\w+", "", text)))
        broken = re.findall(r"(\w+)-\n(\w+)", text)
        joined = sum(f"{a}{b}" in self._words for a, b in broken)
        self._breaks_words = joined > sum(f"{a}-{b}" in self._words for a, b in broken)

    def keeps_hyphen(self, left: str, right: str) -> bool:
        """Whether the hyphen between two halves of a word is the word's own."""
        plain, own = f"{left}{right}".casefold(), f"{left}-{right}".casefold()
        if (plain in self._words) != (own in self._words):
            return own in self._words
        if not self._breaks_words:
            return True
        return all(len(half) > 2 and half.casefold() in self._parts for half in (left, right))
