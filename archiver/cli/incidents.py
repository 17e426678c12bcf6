"""``archiver incidents``: registers from documents, and what is wrong with a register."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from archiver.cli.options import EXIT_CODES, command
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.errors import ExitCode, UsageError
from archiver.incidents.assigning import Changes, assign
from archiver.incidents.drafting import Draft, draft
from archiver.incidents.lint import Finding, lint
from archiver.incidents.merging import merged_rows
from archiver.incidents.quarters import parse_country, parse_quarter
from archiver.incidents.register import read_rows
from archiver.incidents.register_files import read_before, read_sidecar, write_register
from archiver.incidents.sidecar import Sidecar, Source, sidecar_path

MAX_SHOWN_CHARS = 160


@click.group("incidents", epilog=EXIT_CODES)
def incidents() -> None:
    """Make a register of incidents from a document, and look a register through."""


@command("import")
@click.argument("document", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--country", required=True, metavar="CC", help="Two letters, such as KZ; begins every ID.")
@click.option("--quarter", required=True, metavar="YYYY-Qn", help="The quarter that the document is about.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="REGISTER.csv",
    help="Register to write or to carry on; its full texts go into a .incidents.json beside it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change and write nothing.")
def import_document(
    *,
    document: Path,
    country: str,
    quarter: str,
    output: Path,
    dry_run: bool,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Draft a register from a quarterly report: one row for each link, with the ID of its incident.

    FILE is Markdown, HTML, DOCX, PDF, XLSX or CSV. Where REGISTER.csv is there already, incidents that stayed
    keep their IDs, and what you wrote into its cells stays; what is new, changed and gone is told.
    """
    del config
    if output.suffix.lower() != ".csv":
        raise UsageError(
            f"register {output.name}: name: expected it to end in .csv, got {output.suffix or 'none'}",
            code="E247",
            hint="a register is written as CSV",
        )
    # Here, so that the other commands start without the libraries of six formats.
    from archiver.incidents.importers import read_document  # noqa: PLC0415

    place, period = parse_country(country), parse_quarter(quarter)
    before, rows_before = read_before(output, place, period)
    read, data = read_document(document)
    found = draft(read, period)
    if not found.incidents:
        raise UsageError(
            f"document {document.name}: sections: expected '1. General situation' or the like, got none",
            code="E244",
            hint="number the headings of the sections, or make them headings; see docs/registers.md",
        )
    source = Source(document.name, read.kind, hashlib.sha256(data).hexdigest())
    sidecar, changes = assign(found, place, period, source, before)
    columns, rows = merged_rows(sidecar, before, rows_before)
    if not dry_run:
        write_register(output, sidecar, columns, rows)
    done = _Import(output, sidecar, found, changes, rows, first=before is None, written=not dry_run)
    if as_json:
        print_json(done.to_json())
    else:
        done.tell()
    return ExitCode.DONE


@command("lint")
@click.argument("register", type=click.Path(path_type=Path))
def lint_register(*, register: Path, config: Path | None, as_json: bool) -> ExitCode:
    """Look a register through before it is captured: duplicates, IDs of nothing, addresses that will not do.

    It proposes and never rewrites, and asks nothing of the network. Exits with 3 when there is something to
    look at, with 0 when there is nothing.
    """
    del config
    findings = list(lint(read_rows(register), read_sidecar(register)))
    counts = Counter(one.kind for one in findings)
    if as_json:
        print_json(
            {"register": str(register), "findings": [asdict(one) for one in findings], "summary": counts}
        )
    else:
        print_lines(_finding_line(register, one) for one in findings)
        told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "nothing to look at"
        say(f"{register.name}: {told}")
    return ExitCode.PARTIAL if findings else ExitCode.DONE


for _command in (import_document, lint_register):
    incidents.add_command(_command)


def _finding_line(register: Path, one: Finding) -> str:
    where = f"line {one.line}" if one.line else "no line"
    about = " ".join(part for part in (one.incident_id, one.url) if part)
    proposal = f" -> {clean(one.proposal, 300)}" if one.proposal else ""
    return f"{register.name}: {where}: {one.kind}: {clean(about, 300)}: {clean(one.what, 300)}{proposal}"


@dataclass(frozen=True, slots=True)
class _Import:
    """What came of an import, for whoever ordered it."""

    output: Path
    sidecar: Sidecar
    found: Draft
    changes: Changes
    rows: list[dict[str, str]]
    first: bool
    written: bool

    @property
    def lost(self) -> list[dict[str, str]]:
        return [row for row in self.rows if not row["url"]]

    @property
    def without_links(self) -> list[str]:
        return [one.incident_id for one in self.sidecar.incidents if not one.links]

    def to_json(self) -> dict[str, Any]:
        changed = [{"incident_id": one.incident_id, "what": list(one.what)} for one in self.changes.changed]
        return {
            "register": str(self.output),
            "sidecar": str(sidecar_path(self.output)),
            "written": self.written,
            "sections": [{"number": one.number, "title": one.title} for one in self.found.sections],
            "incidents": len(self.sidecar.incidents),
            "links": len(self.rows),
            "lost": [{name: row[name] for name in ("incident_id", "anchor", "note")} for row in self.lost],
            "without_links": self.without_links,
            "new": list(self.changes.new),
            "changed": changed,
            "gone": list(self.changes.gone),
            "returned": list(self.changes.returned),
            "same": self.changes.same,
            "notes": list(self.found.notes),
        }

    def tell(self) -> None:
        titles = {one.incident_id: one.title for one in (*self.sidecar.gone, *self.sidecar.incidents)}
        titles = {name: clean(title, MAX_SHOWN_CHARS) for name, title in titles.items()}
        counts = Counter(one.section for one in self.sidecar.incidents)
        print_lines(
            f"section {one.number}: {counts[one.number]} incidents: {clean(one.title, MAX_SHOWN_CHARS)}"
            for one in self.found.sections
        )
        if not self.first:
            print_lines(self._differences(titles))
        for note in self.found.notes:
            say(f"note: {clean(note, 300)}")
        for one in self.without_links:
            say(f"no link: {one}: {titles[one]}")
        for row in self.lost:
            say(f"lost target: {row['incident_id']}: {clean(row['anchor'], 300)}")
        say(f"{self.output.name}{'' if self.written else ' (not written)'}: {', '.join(self._counts())}")
        if self.written:
            say(f"a draft: read it beside the document, then run `archiver incidents lint {self.output}`")

    def _differences(self, titles: dict[str, str]) -> Iterator[str]:
        told = self.changes
        for kind, ids in (("new", told.new), ("gone", told.gone), ("returned", told.returned)):
            yield from (f"{kind} {one}: {titles[one]}" for one in ids)
        for change in told.changed:
            yield f"changed {change.incident_id} ({', '.join(change.what)}): {titles[change.incident_id]}"

    def _counts(self) -> Iterator[str]:
        yield f"{len(self.sidecar.incidents)} incidents"
        yield f"{len(self.rows)} links"
        yield f"{len(self.lost)} without a target"
        if not self.first:
            told = self.changes
            yield f"{told.same} as they were"
            yield f"{len(told.changed)} changed"
            yield f"{len(told.new)} new"
            yield f"{len(told.gone)} gone"
