"""The words and names that documents are read by, from the TOML files beside this one."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

ROLES = ("source", "removed", "official", "screenshot", "reaction")
"""What a link can be in its incident; ``docs/registers.md`` says what each means."""

_ADDRESS = re.compile(
    r"(?<![\w@./-])(?:www\.)?((?:[a-z0-9][a-z0-9-]*\.)+(?:kz|media|org|com|net|ru|info|news|tv|live|io))(?![\w@-]|\.\w)",
    re.IGNORECASE,
)


@functools.cache
def phrases() -> dict[str, Any]:
    """Return ``phrases.toml``."""
    return _load("phrases.toml")


@functools.cache
def months() -> dict[str, int]:
    """Return each name of a month, case folded, with its number."""
    return {name.casefold(): int(number) for number, names in phrases()["months"].items() for name in names}


def named(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the outlets and the platforms that *text* names, each once, in the order of the text."""
    pattern, kinds = _names()
    outlets: dict[str, int] = {}
    platforms: dict[str, int] = {}
    for found in pattern.finditer(text):
        kind, name = kinds[found.lastgroup or ""]
        {"outlet": outlets, "platform": platforms}.get(kind, {}).setdefault(name, found.start())
    for found in _ADDRESS.finditer(text):
        if not pattern.search(found[1]):
            outlets.setdefault(found[1], found.start())
    return tuple(sorted(outlets, key=outlets.__getitem__)), tuple(
        sorted(platforms, key=platforms.__getitem__)
    )


def proposed_role(anchor: str, url: str) -> str:
    """Return the role of a link as its own text and address suggest; the reader decides."""
    parts = _split(url)
    host = "." + parts[0]
    for role in _load("roles.toml")["role"]:
        hosts = tuple("." + one.lstrip(".") for one in role.get("hosts", ()))
        if hosts and parts[0] and host.endswith(hosts):
            return str(role["name"])
        if parts[1].casefold().endswith(tuple(role.get("endings", ())) or "\0"):
            return str(role["name"])
        if _words(tuple(role.get("anchor", ()))).search(anchor):
            return str(role["name"])
    return ROLES[0]


@functools.cache
def _words(forms: tuple[str, ...]) -> re.Pattern[str]:
    if not forms:
        return re.compile(r"(?!)")
    return re.compile(rf"\b(?:{'|'.join(map(_form, forms))})", re.IGNORECASE)


@functools.cache
def _names() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    """Return one pattern of all forms, the longest first, and what each of its groups stands for."""
    table = _load("names.toml")
    kinds: dict[str, tuple[str, str]] = {}
    forms: list[tuple[str, str]] = []
    for kind in ("outlet", "platform", "other"):
        for entry in table[kind]:
            for form in entry["forms"]:
                group = f"g{len(kinds)}"
                kinds[group] = (kind, entry["name"])
                forms.append((form, group))
    forms.sort(key=lambda one: -len(one[0]))
    pattern = "|".join(f"(?P<{group}>{_form(form)})" for form, group in forms)
    return re.compile(rf"(?<![\w@])(?:{pattern})"), kinds


def _form(form: str) -> str:
    pattern = re.escape(form).replace(r"\*", r"\w*").replace(r"\ ", r"\s+")
    end = r"(?!\w)" if form[-1].isalnum() or form[-1] == "*" else ""
    is_address = "." in form and " " not in form
    return f"(?i:{pattern}){end}" if is_address else pattern + end


@functools.cache
def _load(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("archiver.incidents").joinpath(name).read_text("utf-8"))


def _split(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower(), parts.path
    except ValueError:
        return "", ""


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return what matches one of *words* as whole words at the start of a text, without regard to case."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
