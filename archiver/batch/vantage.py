"""Vantages: which a seed asks for, and what the settings are at each. Rules only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

import msgspec

from archiver.config import Settings
from archiver.errors import UsageError
from archiver.incidents.register import RowProblem, Seed
from archiver.incidents.rows import column_key

COLUMN = "vantage"
MAX_VANTAGES_PER_SEED = 20


def spread(seeds: Iterable[Seed], settings: Settings) -> Iterator[Seed | RowProblem]:
    """Yield each seed once for every vantage that its row asks for, and a problem for a row that cannot be.

    A row without the column, or with nothing in it, is seen from the vantage of the settings. A row that
    names one vantage that does not exist is captured from none: half a comparison misleads.
    """
    for seed in seeds:
        names = list(dict.fromkeys(re.findall(r"[^,;\s]+", _cell(seed)))) or [""]
        unknown = [name for name in names if name not in settings.vantages and name not in _own(settings)]
        if unknown:
            known = ", ".join([*settings.vantages]) or "none"
            what = f"vantage: expected one of the settings ({known}), got {ascii(unknown[0])[:80]}"
            yield RowProblem(seed.line, what, f"add [vantages.{unknown[0][:40]}] to the settings")
        elif len(names) > MAX_VANTAGES_PER_SEED:
            what = f"vantage: expected at most {MAX_VANTAGES_PER_SEED} names, got {len(names)}"
            yield RowProblem(seed.line, what, "split the row")
        else:
            wanted = ("" if name in _own(settings) else name for name in names)
            yield from (replace(seed, vantage=name) if name else seed for name in wanted)


def settings_at(settings: Settings, name: str, environment: Mapping[str, str]) -> Settings:
    """Return the settings as they are at a vantage; an empty *name* stands for that of the settings.

    Args:
        settings: Of the run.
        name: One of ``settings.vantages``, or empty.
        environment: Where credentials come from.

    Raises:
        UsageError: E710, no such vantage, or its credentials are missing.
    """
    if not name:
        return settings
    if name not in settings.vantages:
        raise UsageError(
            f"vantage {name!a}: expected one of the settings, got another",
            code="E710",
            hint=f"add [vantages.{name}] to the settings",
        )
    at = settings.vantages[name]
    view = msgspec.structs.replace(
        settings.view,
        locale=at.locale or settings.view.locale,
        timezone=at.timezone or settings.view.timezone,
        languages=at.languages or (() if at.locale else settings.view.languages),
    )
    return msgspec.structs.replace(
        settings,
        vantage=name,
        vantage_country=at.country,
        vantage_place=at.place,
        resolver=at.resolver or settings.resolver,
        upstream=_with_credentials(name, at.upstream, at.credentials_from, environment),
        view=view,
    )


def _own(settings: Settings) -> tuple[str, ...]:
    return ("", settings.vantage) if settings.vantage not in settings.vantages else ("",)


def _cell(seed: Seed) -> str:
    return next((value for column, value in seed.row.items() if column_key(column) == COLUMN), "")


def _with_credentials(name: str, upstream: str, variable: str, environment: Mapping[str, str]) -> str:
    if not variable:
        return upstream
    user, colon, password = environment.get(variable, "").partition(":")
    if not (user and colon):
        raise UsageError(
            f"vantage {name}: credentials: expected user:password in the variable {variable}, got none",
            code="E710",
            hint=f"export {variable}, or take `credentials_from` out of the settings",
        )
    scheme, _, address = upstream.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{address}"
