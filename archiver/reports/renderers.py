"""Reports as HTML, PDF, Markdown, CSV and JSON, all from one ``Report``."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
from markupsafe import Markup

from archiver.errors import UsageError
from archiver.incidents.safe_cells import guarded
from archiver.reports.document import Block, Document, Section, printable, render_pdf
from archiver.reports.figures import bars, timeline
from archiver.reports.report_model import FATES, Link, Report, Sight, Tally
from archiver.reports.words import Words

FORMAT = "report/1"
MAX_NAME_TOKEN_CHARS = 18
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~"})


def render_report(report: Report, words: Words, output: Path) -> None:
    """Write *report* to *output* in the form that the end of its name says.

    Raises:
        UsageError: E225, another ending.
        DocumentNotMade: E221.
        OSError: The file cannot be written.
    """
    form = output.suffix.lower()
    if form == ".pdf":
        _pdf(report, words, output)
        return
    render = _TEXTS.get(form)
    if render is None:
        raise UsageError(
            f"output {output.name}: expected a name that ends in {', '.join([*_TEXTS, '.pdf'])}, got another",
            code="E225",
            hint="name the file after the form that you want",
        )
    part = output.with_name(f"{output.name}.part")
    part.write_text(render(report, words), encoding="utf-8")
    part.replace(output)


def citation(link: Link, words: Words) -> str:
    """Return the permanent citation of a link, one line that pastes into a document."""
    title = _one_line(link.title)
    sight = link.citable
    if sight is None:
        key = "report.uncited" if link.url else "report.lost_target"
        return words(key, title=title, url=link.url)
    return words(
        "report.citation",
        title=title,
        outlet=_one_line(link.outlet),
        url=link.url,
        at=_minute(sight.at),
        capture_id=sight.capture_id,
        digest=sight.record_sha256 or words("exhibit.unknown"),
        state=words.named("state", sight.state),
    )


def _html(report: Report, words: Words) -> str:
    style = (resources.files("archiver.reports") / "templates" / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    figures = [(name, Markup(svg)) for name, svg in _figures(report, words)]  # noqa: S704  every text in them is escaped
    return _template().render(
        report=report,
        words=words,
        tables=list(_tables(report, words)),
        figures=figures,
        timelines={
            one.incident_id: Markup(timeline(one.links, _timeline_title(one.incident_id, words), words))  # noqa: S704  as above
            for one in report.incidents
        },
        numbers=_numbers(report),
        citation=citation,
        style=Markup(style),  # noqa: S704  our own text
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        summary=_summary(report, words),
        title=_title(report, words),
    )


def _markdown(report: Report, words: Words) -> str:
    lines = [f"# {_plain(_title(report, words))}", "", words("report.made", at=report.made_at), ""]
    lines += [_summary(report, words), "", words("report.how"), ""]
    for title, head, rows in _tables(report, words):
        lines += [f"## {_plain(title)}", "", f"| {' | '.join(map(_plain, head))} |"]
        lines += [f"|{'---|' * len(head)}"]
        lines += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows] + [""]
    numbers = _numbers(report)
    for one in report.incidents:
        lines += [f"## {_plain(one.incident_id)} {_plain(one.title)}".rstrip(), ""]
        lines += [_plain(paragraph) + "\n" for paragraph in one.text.splitlines() if paragraph.strip()]
        for link in one.links:
            first, now = words.named("fate", link.first_fate), words.named("fate", link.fate)
            lines.append(f"- {_plain(link.title)} [^{numbers[id(link)]}]: {first} → {now}")
        lines.append("")
    lines += [f"## {words('report.citations')}", ""]
    lines += [f"[^{numbers[id(link)]}]: {_plain(citation(link, words))}" for link in report.links]
    return "\n".join(lines) + "\n"


def _csv(report: Report, words: Words) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*_COLUMNS, "citation"])
    for values in _rows(report):
        link = values.pop("link")
        writer.writerow([guarded(str(value)) for value in (*values.values(), citation(link, words))])
    return out.getvalue()


_COLUMNS = (
    "incident_id",
    "section",
    "month",
    "title",
    "url",
    "role",
    "outlets",
    "platforms",
    "first_fate",
    "fate",
    "outcome",
    "signal",
    "captures",
    "cited_capture",
    "cited_at",
    "cited_record_sha256",
)


def _rows(report: Report) -> Iterator[dict[str, Any]]:
    for incident in report.incidents:
        for link in incident.links:
            last = link.sights[-1] if link.sights else Sight("", "", "")
            cited = link.citable or Sight("", "", "")
            yield dict(
                zip(
                    _COLUMNS,
                    (
                        incident.incident_id,
                        incident.section,
                        incident.month,
                        link.title,
                        link.url,
                        link.role,
                        "; ".join(link.outlets),
                        "; ".join(link.platforms),
                        link.first_fate,
                        link.fate,
                        last.outcome,
                        last.signal,
                        len(link.sights),
                        cited.capture_id,
                        cited.at,
                        cited.record_sha256,
                    ),
                    strict=True,
                )
            ) | {"link": link}


def _json(report: Report, words: Words) -> str:
    def counts(tallies: Sequence[Tally]) -> list[dict[str, Any]]:
        return [
            {"name": one.name, "total": one.total, **{fate: one.counts[fate] for fate in FATES}}
            for one in tallies
        ]

    plain = {
        "format": FORMAT,
        "title": report.title,
        "made_at": report.made_at,
        "all": counts([report.whole()])[0],
        "by_section": counts(report.by_section()),
        "by_platform": counts(report.by_platform()),
        "by_signal": counts(report.by_signal()),
        "previous": {"title": report.previous_title, "by_section": counts(report.previous)},
        "links": [
            {
                **{name: value for name, value in row.items() if name != "link"},
                "citation": citation(row["link"], words),
            }
            for row in _rows(report)
        ],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


_TEXTS: dict[str, Callable[[Report, Words], str]] = {
    ".html": _html,
    ".md": _markdown,
    ".csv": _csv,
    ".json": _json,
}


def _pdf(report: Report, words: Words, output: Path) -> None:
    sections = [
        Section(
            words("report.all"),
            [Block("paragraphs", [_summary(report, words)]), Block("note", words("report.how"))],
        )
    ]
    figures = dict(_figures(report, words))
    for title, head, rows in _tables(report, words):
        blocks = [Block("figure", figures[title])] if figures.get(title) else []
        cells = [[printable(row[0], MAX_NAME_TOKEN_CHARS), *row[1:]] for row in rows]
        widths = [0, *([min(21, 112 // (len(head) - 1))] * (len(head) - 1))]
        blocks.append(Block("table", {"head": head, "rows": cells, "widths": widths, "exact": []}))
        sections.append(Section(title, blocks))
    numbers = _numbers(report)
    for one in report.incidents:
        blocks = [Block("paragraphs", [printable(line) for line in one.text.splitlines() if line.strip()])]
        drawn = timeline(one.links, _timeline_title(one.incident_id, words), words)
        if drawn:
            blocks.append(Block("figure", drawn))
        rows = [
            [
                str(numbers[id(link)]),
                printable(link.title),
                words.named("fate", link.first_fate),
                words.named("fate", link.fate),
            ]
            for link in one.links
        ]
        head = ["№", words("report.link"), words("report.first"), words("report.now")]
        blocks.append(Block("table", {"head": head, "rows": rows, "widths": [10, 0, 34, 34], "exact": []}))
        sections.append(Section(printable(f"{one.incident_id} {one.title}".strip()), blocks))
    cited = [f"{numbers[id(link)]}. {printable(citation(link, words))}" for link in report.links]
    sections.append(Section(words("report.citations"), [Block("text", cited)]))
    document = Document(
        title=_title(report, words),
        language=words.language,
        created_at=datetime.fromisoformat(report.made_at),
        header=(printable(report.title), words("report.made", at=report.made_at)),
        footer="",
        page_of=words("exhibit.page_of", page="{page}", pages="{pages}"),
        sections=sections,
    )
    with TemporaryDirectory(prefix="archiver-report-") as folder:
        render_pdf(document, Path(folder), output)


def _tables(report: Report, words: Words) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, head and rows of each table of counts that has something to tell."""
    fates = _met(report)
    names = [words.named("fate", fate) for fate in fates]
    for key, column, tallies in (
        ("by_section", "section", report.by_section()),
        ("by_platform", "platform", report.by_platform()),
        ("by_signal", "signal", report.by_signal()),
    ):
        if not tallies:
            continue
        head = [words(f"report.{column}"), *names, words("report.total")]
        rows = [
            _counts(_named_section(report, one) if key == "by_section" else one, fates) for one in tallies
        ]
        if key == "by_section":
            rows.append(_counts(Tally(words("report.all"), report.whole().counts), fates))
        yield words(f"report.{key}"), head, rows
    if report.previous:
        yield _changes(report, fates, words)


def _met(report: Report) -> list[str]:
    """The fates that any link met, now or in the quarter before: a column of zeros tells nothing."""
    counted = [report.whole(), *report.previous]
    return [fate for fate in FATES if any(one.counts[fate] for one in counted)]


def _counts(one: Tally, fates: Sequence[str]) -> list[str]:
    return [one.name, *(str(one.counts[fate]) for fate in fates), str(one.total)]


def _named_section(report: Report, one: Tally) -> Tally:
    title = report.sections.get(one.name, "")
    return Tally(f"{one.name}. {title}" if title else one.name, one.counts)


def _changes(report: Report, fates: Sequence[str], words: Words) -> tuple[str, list[str], list[list[str]]]:
    """The table of differences: of each section, more or fewer than in the quarter before."""
    before = {one.name: one for one in report.previous}
    now = {one.name: one for one in report.by_section()}
    rows = []
    for name in sorted(before.keys() | now.keys(), key=lambda one: one.zfill(9)):
        old, new = before.get(name, Tally(name)), now.get(name, Tally(name))
        title = _named_section(report, new).name
        change = [f"{new.counts[fate] - old.counts[fate]:+d}" for fate in fates]
        rows.append([title, *change, f"{new.total - old.total:+d}"])
    head = [words("report.section"), *(words.named("fate", fate) for fate in fates), words("report.total")]
    return words("report.change", name=report.previous_title), head, rows


def _figures(report: Report, words: Words) -> Iterator[tuple[str, str]]:
    for key, tallies in (
        ("by_section", [_named_section(report, one) for one in report.by_section()]),
        ("by_platform", report.by_platform()),
        ("by_signal", report.by_signal()[:20]),
    ):
        if tallies:
            yield words(f"report.{key}"), bars(tallies, words(f"report.{key}"), words)


def _summary(report: Report, words: Words) -> str:
    whole = report.whole()
    counts = {fate: whole.counts[fate] for fate in ("gone", "barred", "unreachable", "present")}
    return words("report.summary", total=whole.total, **counts)


def _title(report: Report, words: Words) -> str:
    is_one = len(report.incidents) == 1 and report.incidents[0].incident_id == report.title
    return words("report.incident" if is_one else "report.quarter", name=report.title)


def _timeline_title(incident_id: str, words: Words) -> str:
    return f"{incident_id}: {words('report.timeline')}"


def _numbers(report: Report) -> dict[int, int]:
    """The number of each link's citation, by the identity of the link: two may be equal."""
    return {id(link): number for number, link in enumerate(report.links, 1)}


def _minute(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Return *text* so that no Markdown reader takes anything in it for markup."""
    return _one_line(text).translate(_MARKS)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archiver.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["identity"] = id
    return environment.get_template("report.html")
