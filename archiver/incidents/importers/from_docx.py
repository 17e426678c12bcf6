"""Word documents. Source: ECMA-376, part 1; python-docx opens the package and its relationships.

The text of a paragraph is walked by hand, since links also lie in fields, notes, tables and revisions.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from archiver.incidents.document import Document, Paragraph, Run, merge_runs
from archiver.incidents.importers.packages import check_package
from archiver.incidents.rows import Unreadable

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_R_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_NOTES = {"footnoteReference": "/footnotes", "endnoteReference": "/endnotes"}
_SKIPPED = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_W}pPr", f"{_W}rPr", f"{_W}p"}) | {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
}
_FIELD_LINK = re.compile(r"\s*HYPERLINK\s+(?:\\l\s+)?(?:\"([^\"]*)\"|(\S+))", re.IGNORECASE)
_LEVEL = re.compile(r"(?:heading|заголовок|тақырып)\s*(\d)", re.IGNORECASE)
MAX_DEPTH = 200


def read(data: bytes) -> Document:
    """Return the paragraphs of a Word document, tables cell by cell, notes where they are referred to.

    Raises:
        Unreadable: No DOCX, damaged, protected, or one that would unpack to too much.
    """
    import docx  # noqa: PLC0415  # slow to import, and other formats do without it

    check_package(data, "DOCX", "word/document.xml")
    try:
        document = docx.Document(io.BytesIO(data))
        paragraphs = tuple(_Reader(document).paragraphs())
    except Unreadable:
        raise
    except Exception as error:  # lxml and python-docx raise whatever they meet in a broken file
        raise Unreadable(
            f"expected a DOCX file: {type(error).__name__}", "open it and save it again"
        ) from error
    return Document("docx", paragraphs)


class _Reader:
    """Reads one document."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._targets = _targets(document.part)
        self._numbering = _Numbering(document)
        self._levels = _heading_levels(document)
        self._notes = {kind: _note_part(document.part, ending) for kind, ending in _NOTES.items()}

    def paragraphs(self) -> Iterator[Paragraph]:
        for element in self._document.element.body.iter(f"{_W}p"):
            if _inside_skipped(element):
                continue
            walk = _Walk(self._targets, self._note)
            walk.into(element)
            runs = walk.runs()
            if any(run.text.strip() for run in runs):
                mark = self._numbering.mark(element)
                yield Paragraph((Run(mark), *runs) if mark else runs, self._levels.get(_style(element), 0))

    def _note(self, kind: str, number: str) -> tuple[Run, ...]:
        """Return the words of a note in brackets, so that its links belong to whoever refers to it."""
        root, targets = self._notes[kind]
        for note in root if root is not None else ():
            if note.get(f"{_W}id") == number:
                walk = _Walk(targets, lambda *_: ())
                for paragraph in note.iter(f"{_W}p"):
                    walk.into(paragraph)
                return (Run(" ("), *walk.runs(), Run(")"))
        return ()


class _Walk:
    """The runs below one element: plain text, links by element, links by field."""

    def __init__(self, targets: dict[str, str], note: Any) -> None:
        self._targets = targets
        self._note = note
        self._runs: list[Run] = []
        self._fields: list[list[Any]] = []
        """Open complex fields: instruction so far, and whether its result has begun."""

    def runs(self) -> tuple[Run, ...]:
        return merge_runs(self._runs)

    def into(self, element: Any, target: str | None = None, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise Unreadable(
                f"depth: expected at most {MAX_DEPTH} elements in each other, got more", "save it again"
            )
        for child in element:
            name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
            if child.tag in _SKIPPED or not name:
                continue
            if name == "t":
                self._add(child.text or "", target)
            elif name in {"tab", "br", "cr", "noBreakHyphen"} and child.tag.startswith(_W):
                self._add("-" if name == "noBreakHyphen" else " ", target)
            elif name in _NOTES:
                self._runs += self._note(name, child.get(f"{_W}id"))
            elif name == "fldChar":
                self._field(child.get(f"{_W}fldCharType"))
            elif name == "instrText":
                if self._fields:
                    self._fields[-1][0] += child.text or ""
            else:
                self.into(child, self._link(child, name, target), depth + 1)

    def _link(self, child: Any, name: str, target: str | None) -> str | None:
        if name == "hyperlink":
            anchor = child.get(f"{_W}anchor")
            outside = self._targets.get(child.get(_R_ID) or "", "")
            if not outside and (anchor or "").startswith("_Toc"):
                return target
            return outside + (f"#{anchor}" if anchor else "")
        if name == "fldSimple":
            return _field_target(child.get(f"{_W}instr") or "", target)
        return target

    def _add(self, text: str, target: str | None) -> None:
        for instruction, in_result in self._fields:
            if not in_result:
                return
            target = _field_target(instruction, target)
        self._runs.append(Run(text, target))

    def _field(self, kind: str | None) -> None:
        if kind == "begin":
            self._fields.append(["", False])
        elif kind == "separate" and self._fields:
            self._fields[-1][1] = True
        elif kind == "end" and self._fields:
            self._fields.pop()


class _Numbering:
    """The numbers that Word counts itself and does not write into the text."""

    def __init__(self, document: Any) -> None:
        self._levels: dict[tuple[str, str], tuple[str, int, str]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        part = next(
            (rel.target_part for rel in document.part.rels.values() if rel.reltype.endswith("/numbering")),
            None,
        )
        if part is not None:
            self._take(part.element)

    def _take(self, root: Any) -> None:
        kinds: dict[str, dict[str, tuple[str, int, str]]] = {}
        for kind in root.iter(f"{_W}abstractNum"):
            levels = {level.get(f"{_W}ilvl"): _level(level) for level in kind.iter(f"{_W}lvl")}
            kinds[kind.get(f"{_W}abstractNumId")] = levels
        for number in root.iter(f"{_W}num"):
            number_id = number.get(f"{_W}numId")
            kind_id = _value(number, "abstractNumId") or ""
            for name, (form, start, text) in kinds.get(kind_id, {}).items():
                self._levels[number_id, name] = (form, start, text)
            for override in number.iter(f"{_W}lvlOverride"):
                key = (number_id, override.get(f"{_W}ilvl"))
                start_at = _value(override, "startOverride")
                if start_at is not None and key in self._levels:
                    form, _, text = self._levels[key]
                    self._levels[key] = (form, int(start_at), text)

    def mark(self, paragraph: Any) -> str:
        """Return the number before a paragraph, counting it; empty for none and for bullets."""
        properties = paragraph.find(f"{_W}pPr/{_W}numPr")
        if properties is None:
            return ""
        key = (_value(properties, "numId") or "", _value(properties, "ilvl") or "0")
        form, start, text = self._levels.get(key, ("", 1, ""))
        if form != "decimal" or text.count("%") != 1:
            return ""
        self._counts[key] = self._counts.get(key, start - 1) + 1
        return re.sub(r"%\d", str(self._counts[key]), text) + " "


def _level(level: Any) -> tuple[str, int, str]:
    return _value(level, "numFmt") or "", int(_value(level, "start") or 1), _value(level, "lvlText") or ""


def _value(element: Any, name: str) -> str | None:
    found = element.find(f"{_W}{name}")
    return None if found is None else str(found.get(f"{_W}val"))


def _style(paragraph: Any) -> str:
    found = paragraph.find(f"{_W}pPr/{_W}pStyle")
    return "" if found is None else str(found.get(f"{_W}val"))


def _heading_levels(document: Any) -> dict[str, int]:
    levels = {}
    for style in document.styles.element.iter(f"{_W}style"):
        name = _value(style, "name") or ""
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        found = _LEVEL.fullmatch(name)
        if outline is not None and outline.get(f"{_W}val", "").isdigit():
            levels[style.get(f"{_W}styleId")] = int(outline.get(f"{_W}val")) + 1
        elif found:
            levels[style.get(f"{_W}styleId")] = int(found[1])
    return levels


def _field_target(instruction: str, otherwise: str | None) -> str | None:
    found = _FIELD_LINK.match(instruction)
    if not found:
        return otherwise
    target = found[1] or found[2] or ""
    return f"#{target}" if "\\l" in instruction.partition(target)[0] else target


def _inside_skipped(element: Any) -> bool:
    dropped = _SKIPPED - {f"{_W}p"}
    return any(parent.tag in dropped for parent in element.iterancestors())


def _targets(part: Any) -> dict[str, str]:
    return {name: rel.target_ref for name, rel in part.rels.items() if rel.is_external}


def _note_part(part: Any, ending: str) -> tuple[Any, dict[str, str]]:
    from docx.oxml import parse_xml  # noqa: PLC0415  # as above

    for rel in part.rels.values():
        if rel.reltype.endswith(ending):
            return parse_xml(rel.target_part.blob), _targets(rel.target_part)
    return None, {}
