"""A document as every importer gives it: paragraphs of runs, with links and hints at headings. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

_SPACE = re.compile(r"[\s\u200b\u2060\ufeff]+")
_INVISIBLE = re.compile("[\u00ad\u200c\u200d\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f]")
_LOST_SCHEMES = ("javascript:", "about:", "data:", "file:")
_NO_PAGE = ("mailto:", "tel:", "sms:", "callto:")


@dataclass(frozen=True, slots=True)
class Run:
    """Words of a paragraph that are, or are not, one link.

    Args:
        text: As the document has it.
        target: Of the link as written; None where there is no link.
        shown: Whether the words stand in the text; a link in a column of its own does not.
        role: Of the link, where a column of the document says it; else empty.
    """

    text: str
    target: str | None = None
    shown: bool = True
    role: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph.

    Args:
        runs: In order.
        heading: Level of a heading, 1 the highest; 0 for text.
        begins: Whether an incident begins here; None where the document does not say so.
        title: Of the incident that begins, where the document has a column for it.
    """

    runs: tuple[Run, ...]
    heading: int = 0
    begins: bool | None = None
    title: str = ""

    @property
    def text(self) -> str:
        """What stands there, spaces as they are."""
        return "".join(run.text for run in self.runs if run.shown)

    @property
    def linked(self) -> bool:
        """Whether there is a link to a page, be its target lost or not."""
        return any(is_link(run) for run in self.runs)


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    Args:
        kind: ``markdown``, ``html``, ``docx``, ``pdf``, ``xlsx`` or ``csv``.
        paragraphs: In the order of reading.
        notes: What a person should know of how it was read.
    """

    kind: str
    paragraphs: tuple[Paragraph, ...]
    notes: tuple[str, ...] = ()


def squeeze(text: str) -> str:
    """Return *text* in NFC-neutral plain spacing: each stretch of space one space, invisible marks gone."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", text))


def is_link(run: Run) -> bool:
    """Whether a run is a link to a page; an address to write to or to call is none."""
    return run.target is not None and not run.target.strip().casefold().startswith(_NO_PAGE)


def target_is_lost(target: str) -> bool:
    """Whether a link's target leads to nothing outside the document: ``#``, empty, a script, a local file."""
    plain = target.strip().casefold()
    return not plain or plain.startswith(("#", *_LOST_SCHEMES))


def merge_runs(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Put runs together that touch and are one: text to text, and link to link with the same target.

    Word processors split a link wherever its formatting changes. Links whose target is lost are not put
    together: nothing tells two of them apart from one.
    """
    merged: list[Run] = []
    for run in runs:
        if not run.text and run.target is None:
            continue
        last = merged[-1] if merged else None
        if last and _one(last, run):
            merged[-1] = replace(last, text=last.text + run.text)
        else:
            merged.append(run)
    return tuple(merged)


def _one(left: Run, right: Run) -> bool:
    same = (left.target, left.shown, left.role) == (right.target, right.shown, right.role)
    return same and (left.target is None or not target_is_lost(left.target))


def drop_start(runs: Iterable[Run], count: int) -> tuple[Run, ...]:
    """Return *runs* without the first *count* characters that are shown."""
    kept: list[Run] = []
    for run in runs:
        cut = min(count, len(run.text)) if run.shown else 0
        count -= cut
        if run.text[cut:] or not run.shown:
            kept.append(replace(run, text=run.text[cut:]))
    return tuple(kept)


def tidy(paragraph: Paragraph) -> Paragraph:
    """Return a paragraph with plain spacing, none at its ends, and none twice where runs meet."""
    runs = [replace(run, text=squeeze(run.text)) for run in merge_runs(paragraph.runs)]
    return replace(paragraph, runs=_trim_end(tuple(_meeting(runs))))


def _meeting(runs: Iterable[Run]) -> Iterator[Run]:
    open_space = True
    for run in runs:
        if not run.shown:
            yield replace(run, text=run.text.strip())
            continue
        text = run.text.lstrip(" ") if open_space else run.text
        open_space = text.endswith(" ") if text else open_space
        if text or run.target is not None:
            yield replace(run, text=text)


def _trim_end(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    for place in range(len(runs) - 1, -1, -1):
        run = runs[place]
        if not run.shown:
            continue
        text = run.text.rstrip(" ")
        if text or run.target is not None:
            return (*runs[:place], replace(run, text=text), *runs[place + 1 :])
        runs = (*runs[:place], *runs[place + 1 :])
    return runs
