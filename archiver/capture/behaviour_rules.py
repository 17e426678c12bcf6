"""The rules of behaviours: which of ``behaviours.toml`` hold for a page, and what the record says of them."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from importlib import resources
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from archiver.assets import BEHAVIORS, asset
from archiver.errors import EnvironmentUnfit

MOST_OF_ONE = 20
"""Clicks on one control that loads more, unless its rule says fewer."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for on a page; the file says what each field means."""

    name: str
    kind: Literal["overlay", "expand", "more"]
    selectors: tuple[str, ...]
    words: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    most: int = MOST_OF_ONE
    own_links: bool = False


class LibraryRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one behavior of browsertrix-behaviors is run."""

    behavior: str
    hosts: tuple[str, ...]
    path: str


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``behaviours.toml``."""

    never: tuple[str, ...]
    close_words: tuple[str, ...]
    notice_words: tuple[str, ...]
    overlay_words: tuple[str, ...]
    rule: tuple[Rule, ...]
    library: tuple[LibraryRule, ...]


def _resource(name: str) -> str:
    return resources.files("archiver.capture").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def all_rules() -> Rules:
    """Read the file, once."""
    return msgspec.convert(tomllib.loads(_resource("behaviours.toml")), Rules)


def reader_script(url: str) -> str:
    """Return the script that makes the reader of the page at *url*, rules filled in."""
    rules, host = all_rules(), _host(url)
    values = {
        "never": rules.never,
        "close_words": rules.close_words,
        "notice_words": rules.notice_words,
        "overlay_words": rules.overlay_words,
        "rules": [rule for rule in rules.rule if not rule.hosts or _is_of(host, rule.hosts)],
    }
    return f"({_function()})({msgspec.json.encode(values).decode()})"


def library_behavior(url: str) -> str:
    """Return the name of the library's behavior for *url*, or an empty text."""
    host, path = _host(url), urlsplit(url).path
    found = (one for one in all_rules().library if _is_of(host, one.hosts) and one.path in path)
    return next((one.behavior for one in found), "")


@functools.cache
def library_source() -> str:
    """Return browsertrix-behaviors' script; empty where it was not brought to this installation."""
    try:
        return asset(BEHAVIORS).read_text(encoding="utf-8")
    except EnvironmentUnfit:
        return ""


@functools.cache
def scripts() -> tuple[dict[str, str], ...]:
    """State the scripts that may run in a page, in the shape of the record."""
    ours = "dismisses overlays, expands, loads more, plays media; in an isolated world"
    texts = [
        ("behaviours.js", _resource("behaviours.js"), ours),
        ("behaviours.toml", _resource("behaviours.toml"), "selectors and words of the above"),
        ("browsertrix-behaviors", library_source(), "walks through messages and comments of a platform"),
    ]
    return tuple(
        {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "purpose": purpose}
        for name, text, purpose in texts
        if text
    )


@functools.cache
def _function() -> str:
    lines = _resource("behaviours.js").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//"))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_of(host: str, names: tuple[str, ...]) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in names)
