"""The words of the example pages: our own, in Russian and Kazakh, about matters that the Barometer names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

PHOTOS_PER_ARTICLE = 24
COMMENT_COUNT = 120
LIVE_ENTRY_COUNT = 60
LIVE_FIRST_PHOTO = 400
THUMBNAIL_COUNT = 100

_WORDS: dict[str, Any] = json.loads((Path(__file__).parent / "articles.json").read_text(encoding="utf-8"))

ARTICLES: dict[str, dict[str, Any]] = _WORDS["articles"]
"""Name to an article: lang, section, title, lead, dated, paragraphs, first_photo."""
COMMENTERS = ("Айгүл", "Ержан", "Сергей", "Дина", "Марат", "Ольга")
COMMENTS = (
    "Поддерживаю.",
    "Дұрыс айтасыз!",
    "А что говорит министерство?",
    "Рахмет редакцияға.",
    "Подписался.",
)


def live_entries() -> list[tuple[str, str, int]]:
    """Return the live page's entries: time of day, words, number of the photograph."""
    notes = _WORDS["live_notes"]
    return [
        (f"{7 + i // 5:02d}:{i % 5 * 12:02d}", notes[i % len(notes)], LIVE_FIRST_PHOTO + i)
        for i in range(LIVE_ENTRY_COUNT)
    ]


async def comment_pieces() -> AsyncIterator[bytes]:
    """Yield the comments as the pieces of one JSON array."""
    for i in range(COMMENT_COUNT):
        comment = {"name": COMMENTERS[i % len(COMMENTERS)], "text": COMMENTS[i * 7 % len(COMMENTS)]}
        yield (("[" if i == 0 else ",\n") + json.dumps(comment, ensure_ascii=False)).encode()
    yield b"]\n"
