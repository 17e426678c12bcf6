"""Reads a document as a person would skim it: what is heading, text, dialog, comment, quotation, menu.

Pure: markup and visible text in, blocks out, whatever the markup is. Bounded in time and memory by the limits
below; what lies beyond them is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from lxml import etree, html

MAX_MARKUP_CHARS = 4 * 1024 * 1024
MAX_TEXT_CHARS = 1024 * 1024
MAX_ELEMENTS = 60_000
MAX_BLOCKS = 3_000
MAX_BLOCK_CHARS = 1_500
MAX_MARKS = 400

Place = Literal["title", "heading", "text", "post", "dialog", "frame", "aside", "comment", "quote", "link"]
"""Where words stand. ``post`` is text with a time of its own: somebody wrote it then. ``aside`` is what every
page of a site carries: menus, footers, consent to cookies. ``link`` is a block that is nearly all links."""


class Block(msgspec.Struct, frozen=True):
    """A run of text that stands by itself.

    Args:
        place: Where it stands.
        text: White space collapsed, clipped.
    """

    place: Place
    text: str


class PageRead(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    Args:
        blocks: In document order, the title first.
        marks: What gives a technique away: ``script ADDRESS``, ``iframe ADDRESS``, ``class NAME`` and the
            like.
        pictures: Pictures outside menus, dialogs and forms, icons and logos left out.
        players: Videos and audios that have something to play.
        password_fields: Outside menus.
        is_authored: The page says that it is an article, or holds text with a time and a frame of its own.
    """

    blocks: tuple[Block, ...] = ()
    marks: tuple[str, ...] = ()
    pictures: int = 0
    players: int = 0
    password_fields: int = 0
    is_authored: bool = False

    @property
    def seen(self) -> str:
        """What a person sees apart from menus, joined."""
        return " ".join(block.text for block in self.blocks if block.place not in {"title", "aside"})


_SKIPPED = frozenset({"script", "style", "template", "noscript", "head", "svg", "option", "datalist", "math"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "button", "caption", "center", "dd", "details"}
    | {"dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "label", "legend", "li", "main", "nav", "ol", "p", "pre"}
    | {"section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
)
_HEADINGS = frozenset({"h1", "h2", "h3"})
_QUOTES = frozenset({"blockquote", "q", "pre", "code", "figcaption", "samp"})
_MARKED = re.compile(r"captcha|turnstile|challenge|g-recaptcha|px-|cf-", re.IGNORECASE)
_COMMENT = re.compile(
    r"(^|[\s_-])(comments?|repl(y|ies)|disqus|discussion|responses)([\s_-]|$)", re.IGNORECASE
)
_CONSENT = re.compile(r"cookie|consent|gdpr", re.IGNORECASE)
_DIALOG = re.compile(r"(^|[\s_-])(modal|dialog|overlay|popup|paywall)([\s_-]|$)", re.IGNORECASE)
_ASIDE = re.compile(
    r"(^|[\s_-])(sidebar|related|recommend\w*|newsletter|breadcrumbs?|share|tags|menu|banner|promo|footer|navbar)([\s_-]|$)",
    re.IGNORECASE,
)
_NAMED: tuple[tuple[Place, re.Pattern[str]], ...] = (
    ("aside", _CONSENT),
    ("comment", _COMMENT),
    ("aside", _ASIDE),
    ("dialog", _DIALOG),
)
_FRAMES = frozenset({"html", "body", "main", "article"})
_ASIDE_ROLES = frozenset({"navigation", "contentinfo", "complementary", "search"})
_POST = re.compile(r"(^|[\s_-])(message|post|entry|tweet|story|article)([\s_-]|$)", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_ICON = re.compile(r"logo|icon|avatar|emoji|spacer|pixel|captcha|loader|^data:|\.svg", re.IGNORECASE)
_ARTICLE_META = frozenset({"article:published_time", "article:modified_time", "article:author"})
_SPACE = re.compile(r"\s+")
_FRAME = re.compile(r"\n\n\[frame [^\n]{0,4000}\]\n")
_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
LINK_SHARE = 0.6
"""A block with more of its characters in links is a list of links."""


def read_page(markup: str, text: str = "", title: str = "") -> PageRead:
    """Read a document.

    Args:
        markup: The document as the scripts left it; empty when there is none.
        text: The visible text as the browser gave it, frames behind ``[frame ADDRESS]``. Where it is given,
            only what is in it counts as seen.
        title: As the browser gave it; else the document's.
    """
    visible = text[:MAX_TEXT_CHARS]
    read = _Reading()
    root = _parsed(markup)
    if root is not None:
        read.walk(root)
    own, *frames = _FRAME.split(visible)
    blocks = read.blocks[:MAX_BLOCKS]
    if visible.strip():
        folded = _folded(visible)
        blocks = [one for one in blocks if _folded(one.text)[:60] in folded]
    if not blocks:
        blocks = list(_lines(own, "text"))
    for frame in frames:
        blocks += _lines(frame, "frame")
    called = _clean(title) or read.title
    heads = [Block("title", called)] if called else []
    return PageRead(
        blocks=(*heads, *blocks),
        marks=tuple(dict.fromkeys(read.marks)),
        pictures=read.pictures,
        players=read.players,
        password_fields=read.password_fields,
        is_authored=read.says_article or any(one.place == "post" for one in blocks),
    )


def _clean(text: str) -> str:
    return _SPACE.sub(" ", text[: 4 * MAX_BLOCK_CHARS]).strip()[:MAX_BLOCK_CHARS]


def _folded(text: str) -> str:
    return _SPACE.sub("", text).casefold()


def _lines(text: str, place: Place) -> Iterator[Block]:
    short = len(text) < MAX_BLOCK_CHARS
    for count, line in enumerate(text.splitlines()):
        if count >= MAX_BLOCKS:
            return
        if cleaned := _clean(line):
            yield Block("heading" if short and place == "text" and len(cleaned) <= 100 else place, cleaned)


def _parsed(markup: str) -> Any:
    clean = _INVALID.sub(" ", markup[:MAX_MARKUP_CHARS])
    if not clean.strip():
        return None
    try:
        return html.document_fromstring(clean.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError, AssertionError):  # nothing in it that could be a document
        return None


def _by_role(element: Any, tag: str, role: str) -> Place | None:
    """Tell the place of an element by what it is."""
    if role in {"dialog", "alertdialog"} or element.get("aria-modal") == "true" or tag == "dialog":
        about_consent = _CONSENT.search(
            f"{element.get('class')} {element.get('id')} {element.get('aria-label')}"
        )
        return "aside" if about_consent else "dialog"
    return "aside" if tag in {"nav", "footer", "aside"} or role in _ASIDE_ROLES else None


def _by_name(names: str) -> Place | None:
    """Tell the place of an element by the names that its author gave it."""
    for place, pattern in _NAMED:
        if pattern.search(names):
            return place
    return None


class _State(msgspec.Struct, frozen=True):
    """What holds for an element and all within it."""

    place: Place = "text"
    in_main: bool = False
    in_form: bool = False
    in_link: bool = False


class _Reading:
    """One walk over a document; no recursion, as pages nest as deep as they like."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.marks: list[str] = []
        self.title = ""
        self.pictures = 0
        self.players = 0
        self.password_fields = 0
        self.says_article = False
        self._words: list[str] = []
        self._chars = 0
        self._linked = 0

    def walk(self, root: Any) -> None:
        """Read *root* from its first element to its last."""
        outside = _State()
        # An element comes twice off the stack: to begin, and, with what held within it, to end.
        stack: list[tuple[Any, _State, _State | None]] = [(root, outside, None)]
        count = 0
        while stack and count < MAX_ELEMENTS:
            element, around, within = stack.pop()
            if within is not None:
                self._end(element, around, within)
                continue
            count += 1
            inner = self._begin(element, around) if isinstance(element.tag, str) else None
            if inner is None:
                self._add(element.tail, around)
                continue
            self._add("\n" if element.tag == "br" else element.text, inner)
            stack.append((element, around, inner))
            stack.extend((child, inner, None) for child in reversed(element))
        self._flush(outside)

    def _end(self, element: Any, around: _State, within: _State) -> None:
        if element.tag in _BLOCKS or within.place != around.place:
            self._flush(within)
        self._add(element.tail, around)

    def _add(self, text: str | None, state: _State) -> None:
        if text and self._chars < 4 * MAX_BLOCK_CHARS:
            cut = text[: 4 * MAX_BLOCK_CHARS]
            self._words.append(cut)
            self._chars += len(cut)
            if state.in_link:
                self._linked += len(cut.strip())

    def _flush(self, state: _State) -> None:
        text = _clean("".join(self._words))
        if text and len(self.blocks) < MAX_BLOCKS:
            is_links = self._linked > LINK_SHARE * len(text) and state.place in {"text", "post"}
            self.blocks.append(Block("link" if is_links else state.place, text))
        self._words, self._chars, self._linked = [], 0, 0

    def _begin(self, element: Any, state: _State) -> _State | None:
        """Take note of an element; return what holds within it, or None to leave it out."""
        tag = element.tag
        self._note(element, tag, state)
        if tag == "head":
            self._head(element)
            return None
        if tag in _SKIPPED or element.get("hidden") is not None or _HIDDEN.search(element.get("style") or ""):
            self._note_hidden(element)
            return None
        place = self._place(element, tag, state)
        if tag in _BLOCKS or place != state.place:
            self._flush(state)
        role = element.get("role") or ""
        return _State(
            place,
            state.in_main or tag in {"main", "article"} or role == "main",
            state.in_form or tag == "form",
            state.in_link or tag in {"a", "button"},
        )

    def _place(self, element: Any, tag: str, state: _State) -> Place:
        if state.place in {"aside", "comment", "quote"}:
            return state.place
        role = (element.get("role") or "").lower()
        names = f"{element.get('class') or ''} {element.get('id') or ''}"[:500]
        set_apart = _by_role(element, tag, role) or (None if tag in _FRAMES else _by_name(names))
        if set_apart is not None:
            return set_apart
        if tag == "header" and not state.in_main:
            return "aside"
        if tag in _QUOTES:
            return "quote"
        if state.place in {"post", "dialog"}:
            return state.place
        is_post = tag == "article" or role == "article" or (tag != "body" and _POST.search(names))
        if is_post and next(element.iter("time"), None) is not None:
            return "post"
        return "heading" if tag in _HEADINGS or role == "heading" else state.place

    def _head(self, head: Any) -> None:
        title = head.find("title")
        if title is not None:
            self.title = _clean("".join(title.itertext()))
        for meta in head.iter("meta"):
            name = (meta.get("property") or meta.get("name") or "").lower()
            content = (meta.get("content") or "").lower()
            if name in _ARTICLE_META or (name == "og:type" and content == "article"):
                self.says_article = True
        for element in head.iter("script", "noscript", "meta"):
            self._note_hidden(element)

    def _note(self, element: Any, tag: str, state: _State) -> None:
        if len(self.marks) < MAX_MARKS:
            self._mark(element, tag)
        if state.place == "aside":
            return
        if tag == "input" and (element.get("type") or "").lower() == "password":
            self.password_fields += 1
        if state.in_form or state.place == "dialog":
            return
        if tag == "img":
            self.pictures += not _is_small(element)
        if tag in {"video", "audio"}:
            self.players += element.get("src") is not None or element.find("source") is not None

    def _mark(self, element: Any, tag: str) -> None:
        if tag in {"script", "iframe", "frame", "img", "form"}:
            address = element.get("src") or element.get("action") or ""
            if address and not address.startswith("data:"):
                self.marks.append(f"{tag} {address[:300]}")
        for name in ("class", "id"):
            value = element.get(name)
            if value and _MARKED.search(value):
                self.marks.append(f"{name} {value[:120]}")

    def _note_hidden(self, element: Any) -> None:
        # A refresh within noscript is how some filters give themselves away.
        for one in element.iter("meta", "script"):
            address = one.get("src") or (one.get("content") if one.get("http-equiv") else "") or ""
            if address and len(self.marks) < MAX_MARKS:
                self.marks.append(f"{one.tag} {address[:300]}")


def _is_small(element: Any) -> bool:
    """Tell whether the markup itself makes a picture an icon or a logo."""
    width = re.match(r"\d{1,5}", element.get("width") or "")
    if width is not None:
        return int(width[0]) < 200
    return bool(_ICON.search(element.get("src") or "data:"))
