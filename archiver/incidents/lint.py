"""What is wrong with a register, row by row and as a whole. Rules only, no I/O; nothing is rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archiver.errors import UsageError
from archiver.incidents.addresses import advice, normal_form
from archiver.incidents.rows import BrokenRow, Row, column_key
from archiver.incidents.rules import check_incident_id, check_seed_url, url_identity
from archiver.incidents.sidecar import Sidecar
from archiver.incidents.wording import ROLES

MAX_PROPOSAL_CHARS = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Args:
        kind: As ``KINDS`` names it.
        line: Line or row of the register; 0 where it is in no row.
        incident_id: As written, or empty.
        url: As written, or empty.
        what: In words.
        proposal: What to do, or what to write instead.
    """

    kind: str
    line: int
    incident_id: str
    url: str
    what: str
    proposal: str = ""


KINDS = {
    "broken-row": "a row that cannot be read",
    "bad-id": "an incident ID that cannot be one",
    "dead-id": "an incident ID that no incident of the sidecar has",
    "gone-id": "an ID of an incident that the document has no more",
    "no-links": "an incident without a row",
    "target-lost": "a link without an address",
    "bad-url": "an address that cannot be captured",
    "duplicate": "the same address twice in one incident",
    "near-duplicate": "addresses of most likely one page in one incident",
    "wrapped": "an address of a page that only leads on",
    "shortened": "a shortened link",
    "search": "search results",
    "login-only": "shown only to who is logged in",
    "telegram": "t.me/x instead of t.me/s/x",
    "tracking": "parameters that only track",
    "insecure": "http instead of https",
    "role": "a role that is none",
}


def lint(rows: Iterable[Row | BrokenRow], sidecar: Sidecar | None) -> Iterator[Finding]:
    """Yield the findings of a register, by line, then those of no line."""
    looking = _Looking(sidecar)
    for row in rows:
        if isinstance(row, BrokenRow):
            yield Finding("broken-row", row.line, "", "", row.what, row.hint)
        else:
            yield from looking.row(row)
    yield from looking.whole()


class _Looking:
    """What was seen of the register so far."""

    def __init__(self, sidecar: Sidecar | None) -> None:
        self._titles = {one.incident_id: one.title for one in sidecar.incidents} if sidecar else None
        self._gone = {one.incident_id for one in sidecar.gone} if sidecar else set()
        self._seen: set[str] = set()
        self._exact: dict[tuple[str, str], int] = {}
        self._near: dict[tuple[str, str], tuple[int, str]] = {}

    def row(self, row: Row) -> Iterator[Finding]:
        cells = {column_key(name): value.strip() for name, value in row.cells.items()}
        incident, url, line = cells.get("incident_id", ""), cells.get("url", ""), row.line
        self._seen.add(incident)
        yield from self._id(line, incident, url)
        if (role := cells.get("role", "")) and self._titles is not None and role not in ROLES:
            yield Finding("role", line, incident, url, f"role {role[:40]!r}", f"one of {', '.join(ROLES)}")
        if not url:
            what = f"no address for {cells.get('anchor', '')[:120]!r}"
            yield Finding("target-lost", line, incident, "", what, "find the address and fill in url")
            return
        yield from self._repeated(line, incident, url)
        for one in advice(url):
            yield Finding(one.kind, line, incident, url, one.what, one.proposal)

    def whole(self) -> Iterator[Finding]:
        for incident, title in (self._titles or {}).items():
            if incident not in self._seen:
                what = f"no link: {title[:120]}"
                hint = "find its sources and add a row for each"
                yield Finding("no-links", 0, incident, "", what, hint)

    def _id(self, line: int, incident: str, url: str) -> Iterator[Finding]:
        try:
            check_incident_id(incident)
        except UsageError as error:
            yield Finding("bad-id", line, incident[:100], url, error.message, error.hint)
            return
        if incident in self._gone:
            what = "its incident is in the document no more"
            yield Finding(
                "gone-id", line, incident, url, what, "keep the row for what was captured, or drop it"
            )
        elif self._titles is not None and incident not in self._titles:
            yield Finding("dead-id", line, incident, url, "no incident has this ID", "check its spelling")

    def _repeated(self, line: int, incident: str, url: str) -> Iterator[Finding]:
        try:
            check_seed_url(url)
        except UsageError:
            return
        exact = (incident, url_identity(url))
        first = self._exact.setdefault(exact, line)
        near, other = self._near.setdefault((incident, normal_form(url)), (line, url))
        if first != line:
            yield Finding(
                "duplicate", line, incident, url, f"as on line {first}", "remove one of the two rows"
            )
        elif near != line:
            what = f"most likely the page of line {near}: {other[:MAX_PROPOSAL_CHARS]}"
            yield Finding(
                "near-duplicate", line, incident, url, what, "keep both, or remove one of the two rows"
            )
