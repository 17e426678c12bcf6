"""The labelled pages: what a server answered and a browser showed, each with the outcome a person gave it.

The pages were written from how real notices are described in public, before the rules were tuned; none is
a copy of a real one. ``pages/*.toml`` holds what sets a page apart, ``skins.html`` and ``words.toml`` what
pages of its sort carry besides.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

HERE = Path(__file__).parent
_KNOWN = frozenset(
    "name label why hard lang skin url final via status headers title h p brand byline small figure comments"  # noqa: SIM905
    " dialog form action links extra head icon cookie load_error network crashed guarded document".split()
)


@dataclass(frozen=True)
class LabelledPage:
    """One page of the corpus.

    Args:
        name: Unique, and what decides its part.
        label: The outcome that a careful person gives it.
        why: In one sentence.
        hard: Whether it looks like something that it is not.
        html: The document, or empty when none was shown.
        final_url: Where it ended.
        via: Addresses on the way, in order.
        facts: The rest, as written.
    """

    name: str
    label: str
    why: str
    hard: bool
    lang: str
    url: str
    final_url: str
    status: int | None
    headers: dict[str, str]
    html: str
    via: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def later(self) -> bool:
        """Whether it was written when the rules were there, to see what they make of pages they never met."""
        return self.name.startswith("second-")

    @property
    def held_back(self) -> bool:
        """Whether it belongs to the part that no rule is tuned on: a fixed rule on its name."""
        return self.later or hashlib.sha256(self.name.encode()).digest()[0] >= 128


@cache
def pages() -> tuple[LabelledPage, ...]:
    """Every page, in the order of the files."""
    words = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.ChainableUndefined
    )
    skins = environment.get_template("skins.html").module
    found = []
    for file in sorted((HERE / "pages").glob("*.toml")):
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["page"]:
            if unknown := entry.keys() - _KNOWN:
                raise ValueError(f"{file.name}: {entry.get('name')}: unknown {unknown}")
            found.append(_page(entry, words, skins))
    return tuple(found)


def _page(entry: dict[str, Any], words: dict[str, Any], skins: Any) -> LabelledPage:
    lang = entry.get("lang", "ru")
    html = ""
    if "skin" in entry:
        html = str(getattr(skins, entry["skin"])(_dressed(entry, words, lang))).strip()
    shown = bool(html) or "document" in entry
    return LabelledPage(
        name=entry["name"],
        label=entry["label"],
        why=entry["why"],
        hard=entry.get("hard", False),
        lang=lang,
        url=entry["url"],
        final_url=entry.get("final", entry["url"] if shown else ""),
        status=entry.get("status", 200 if shown else None),
        headers=entry.get("headers", {}),
        html=html,
        via=tuple(entry.get("via", ())),
        facts=entry,
    )


def _dressed(entry: dict[str, Any], words: dict[str, Any], lang: str) -> dict[str, Any]:
    seed = int.from_bytes(hashlib.sha256(entry["name"].encode()).digest()[4:6])
    fill = words["fill"][lang]
    text: list[str] = []
    for one in entry.get("p", []):
        if re.fullmatch(r"@\d", one):
            count = int(one[1:])
            text += [fill[(seed + n) % len(fill)] for n in range(count)]
        else:
            text.append(one)
    brand = entry.get("brand") or (urlsplit(entry["url"]).hostname or "").removeprefix("www.")
    dressed = {"title": entry.get("h", ""), "extra": "", "head": "", **entry}
    return dressed | {
        "lang": lang,
        "text": text,
        "seed": seed,
        "w": words[lang],
        "people": words["people"][lang],
        "brand": brand,
    }
