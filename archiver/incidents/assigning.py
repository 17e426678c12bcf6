"""IDs for the incidents of a document: kept where an incident stays, never given twice. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archiver.errors import UsageError
from archiver.incidents.drafting import Draft, DraftIncident, DraftLink
from archiver.incidents.matching import Content, match
from archiver.incidents.quarters import Quarter, make_incident_id
from archiver.incidents.rules import check_seed_url
from archiver.incidents.sidecar import (
    KeptIncident,
    KeptLink,
    KeptSection,
    Sidecar,
    Source,
    highest_ordinals,
)

RETURNED = 0.9
"""So alike must an incident be to one that was gone to get its ID back."""
MAX_TARGET_CHARS = 200


@dataclass(frozen=True, slots=True)
class Change:
    """An incident that stayed and is not what it was: its ID, and which of its facts are new."""

    incident_id: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import brought against the one before, as incident IDs."""

    new: tuple[str, ...]
    changed: tuple[Change, ...]
    gone: tuple[str, ...]
    returned: tuple[str, ...]
    same: int


def assign(
    draft: Draft, country: str, quarter: Quarter, source: Source, before: Sidecar | None
) -> tuple[Sidecar, Changes]:
    """Return what is to be kept of *draft*, and what it changes."""
    old = before.incidents if before else ()
    retired = before.gone if before else ()
    contents = [_content(one.text, one.links) for one in draft.incidents]
    stayed = match([_content(one.text, one.links) for one in old], contents)
    rest = [place for place in range(len(contents)) if place not in stayed]
    again = match(
        [_content(one.text, one.links) for one in retired],
        [contents[place] for place in rest],
        alike=RETURNED,
    )
    ids = {here: old[there].incident_id for here, there in stayed.items()}
    returned = {rest[here]: retired[there].incident_id for here, there in again.items()}
    new = _new_ids(draft.incidents, ids.keys() | returned.keys(), country, quarter, before)
    named = ids | returned | new
    incidents = tuple(_kept(one, named[place]) for place, one in enumerate(draft.incidents))
    left = tuple(one for place, one in enumerate(old) if place not in set(stayed.values()))
    back = set(returned.values())
    sidecar = Sidecar(
        format="archiver-register",
        version=1,
        country=country,
        quarter=str(quarter),
        source=source,
        sections=tuple(KeptSection(one.number, one.title, one.introduction) for one in draft.sections),
        incidents=incidents,
        gone=(*(one for one in retired if one.incident_id not in back), *left),
        outside=draft.outside,
    )
    changed = [
        Change(incidents[here].incident_id, what)
        for here, there in sorted(stayed.items())
        if (what := _difference(old[there], incidents[here]))
    ]
    return sidecar, Changes(
        tuple(new[place] for place in sorted(new)),
        tuple(changed),
        tuple(one.incident_id for one in left),
        tuple(returned[place] for place in sorted(returned)),
        len(stayed) - len(changed),
    )


def _new_ids(
    incidents: Sequence[DraftIncident],
    named: Iterable[int],
    country: str,
    quarter: Quarter,
    before: Sidecar | None,
) -> dict[int, str]:
    highest = highest_ordinals(before) if before else {}
    known = set(named)
    ids = {}
    for place, one in enumerate(incidents):
        if place not in known:
            highest[one.section] = highest.get(one.section, 0) + 1
            ids[place] = make_incident_id(country, quarter, one.section, highest[one.section])
    return ids


def _content(text: str, links: Iterable[DraftLink | KeptLink]) -> Content:
    return Content(text, frozenset(link.url or link.anchor for link in links) - {""})


def _kept(one: DraftIncident, incident_id: str) -> KeptIncident:
    links = tuple(
        KeptLink(anchor=link.anchor, url=url, target=link.target, role=link.role, note=note)
        for link, (url, note) in ((link, _url_and_note(link)) for link in one.links)
    )
    return KeptIncident(
        incident_id, one.section, one.month, one.title, one.text, links, one.outlets, one.platforms
    )


def _url_and_note(link: DraftLink) -> tuple[str, str]:
    """Return the URL, and what is wrong with the target; only http and https are URLs of a register."""
    if not link.url.casefold().startswith(("http://", "https://")):
        return "", f"target lost: the document has {link.target[:MAX_TARGET_CHARS]!r}"
    try:
        check_seed_url(link.url)
    except UsageError as error:
        return link.url, f"to be corrected: {error.message}"
    return link.url, ""


def _difference(old: KeptIncident, new: KeptIncident) -> tuple[str, ...]:
    facts = ("section", "month", "title", "text", "links")
    return tuple(name for name in facts if getattr(old, name) != getattr(new, name))
