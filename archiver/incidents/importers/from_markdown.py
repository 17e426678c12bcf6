"""Markdown and plain text. Source: CommonMark, with tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from archiver.incidents.document import Document, Paragraph, Run
from archiver.incidents.text import decode_text


def read(data: bytes) -> Document:
    """Return the paragraphs of a Markdown document; a numbered list keeps its numbers as text.

    Raises:
        Unreadable: Not text.
    """
    text, encoding = decode_text(data)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    notes = ("read as Windows-1251, since it is not UTF-8",) if encoding == "windows-1251" else ()
    return Document("markdown", tuple(_paragraphs(tokens)), notes)


def _paragraphs(tokens: Sequence[Token]) -> Iterator[Paragraph]:
    numbers: list[int | None] = []
    mark = ""
    heading = 0
    for token in tokens:
        if token.type in {"ordered_list_open", "bullet_list_open"}:
            numbers.append(int(token.attrGet("start") or 1) if token.type[0] == "o" else None)
        elif token.type in {"ordered_list_close", "bullet_list_close"}:
            numbers.pop()
        elif token.type == "list_item_open":
            number = numbers[-1]
            if number is not None:
                mark, numbers[-1] = f"{number}{token.markup} ", number + 1
        elif token.type == "heading_open":
            heading = int(token.tag[1:])
        elif token.type == "inline":
            yield Paragraph((Run(mark), *_runs(token.children or [])), heading)
            mark, heading = "", 0
        elif token.type in {"fence", "code_block", "html_block"}:
            yield Paragraph((Run(token.content),))


def _runs(tokens: Sequence[Token]) -> Iterator[Run]:
    target: str | None = None
    words: list[str] = []
    for token in tokens:
        if token.type in {"link_open", "link_close"}:
            if words or target is not None:
                yield Run("".join(words), target)
            words = []
            target = str(token.attrGet("href") or "") if token.type == "link_open" else None
        elif token.type in {"softbreak", "hardbreak"}:
            words.append(" ")
        elif token.type in {"text", "code_inline", "image"}:
            words.append(token.content)
    if words:
        yield Run("".join(words), target)
