"""The words of documents in their languages: one TOML file a language, the same keys in each."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from archiver.errors import UsageError

LANGUAGES = ("en", "ru", "kk")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language.

    Args:
        language: BCP 47.
        entries: By dotted key; a text, or a list of texts.
    """

    language: str
    entries: Mapping[str, str | list[str]]

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of *key* with *values* in their places; a missing key is our own mistake."""
        text = self.entries[key]
        assert isinstance(text, str), key
        return text.format(**values) if values else text

    def paragraphs(self, key: str) -> list[str]:
        """Return the texts of *key*, in order."""
        texts = self.entries[key]
        assert isinstance(texts, list), key
        return list(texts)

    def named(self, group: str, name: str) -> str:
        """Return the word for a value of ours, such as an outcome; the value itself when there is no word."""
        text = self.entries.get(f"{group}.{name}", name)
        assert isinstance(text, str), name
        return text


@functools.cache
def words_of(language: str) -> Words:
    """Return the words of *language*.

    Raises:
        UsageError: E220, there are none.
    """
    if language not in LANGUAGES:
        raise UsageError(
            f"language {language[:20]!r}: expected one of {', '.join(LANGUAGES)}, got another",
            code="E220",
            hint="choose one of them with --lang",
        )
    text = (resources.files("archiver.reports") / "locale" / f"{language}.toml").read_text("utf-8")
    return Words(language, dict(_flat(tomllib.loads(text))))


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str | list[str]]]:
    found: list[tuple[str, str | list[str]]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found
