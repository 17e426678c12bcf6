"""The real Barometer, and the same document as people pass it on: DOCX, HTML, PDF, XLSX, CSV."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from pathlib import Path

import openpyxl
import typst

from archiver.capture.browser import find_browser
from archiver.incidents.drafting import Draft, draft
from archiver.incidents.importers import read_document
from archiver.incidents.quarters import Quarter

REPORT = Path(__file__).parents[4] / "examples" / "barometer-2026-q1.md"
EXPECTED = Path(__file__).with_name("barometer-2026-q1.expected.csv")
Q1 = Quarter(2026, 1)
SECTIONS = {
    1: "Общая ситуация",
    2: "Правовое давление",
    3: "Препятствование",
    4: "Цензура",
    5: "Доступ",
    6: "Референдум",
}
MONTHS = {"2026-01": "Январь", "2026-02": "Февраль", "2026-03": "Март", "": ""}


def expected() -> list[dict[str, str]]:
    """Incident, section, month and anchor of every link, checked by hand against the report."""
    with EXPECTED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report_with_targets() -> str:
    """The report, each lost target replaced by an address of its own."""
    numbers = iter(range(1, 1000))
    text = REPORT.read_text("utf-8")
    return re.sub(r"\]\(#\)", lambda _: f"](https://news.example/kz/2026/{next(numbers):03d}?a=1&b=2)", text)


def read(path: Path) -> Draft:
    """What the importers and the rules make of a file."""
    return draft(read_document(path)[0], Q1)


def pandoc(text: str, path: Path, *options: str) -> Path:
    """Write Markdown in the format that the end of *path* names."""
    command = ["pandoc", "--from=commonmark", "--standalone", *options, "--output", str(path)]
    subprocess.run(command, input=text, text=True, check=True, timeout=60, capture_output=True)
    return path


def chromium_pdf(page: Path, path: Path, *options: str) -> Path:
    """Print an HTML page as a reader would."""
    profile = path.with_suffix(".profile")
    command = [
        str(find_browser(None)),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
    ]
    command += [*options, f"--print-to-pdf={path}", page.as_uri()]
    subprocess.run(command, check=True, timeout=100, capture_output=True)
    return path


def typeset_pdf(text: str, path: Path) -> Path:
    """Set Markdown as a printed report: justified, words broken at line ends, running heads, page numbers."""
    source = path.with_suffix(".typ")
    head = (
        '#set page(paper: "a5", header: [Freedom of Speech Barometer · 2026], numbering: "1 / 1")\n'
        '#set text(size: 11pt, lang: "en", hyphenate: true)\n#set par(justify: true, spacing: 1.6em)\n'
    )
    source.write_text(head + "\n\n".join(_typst(part) for part in text.split("\n\n") if part.strip()))
    typst.compile(source, output=path)
    return path


def _typst(paragraph: str) -> str:
    pieces = re.split(r"\[(.*?)\]\((.*?)\)", " ".join(paragraph.split()))
    words = []
    for place in range(0, len(pieces), 3):
        words.append(f"#{_quoted(pieces[place])}")
        if place + 2 < len(pieces):
            words.append(f"#link({_quoted(pieces[place + 2])})[#{_quoted(pieces[place + 1])}]")
    return "".join(words)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def table(draft_of_report: Draft) -> list[list[str]]:
    """The report as somebody keeps it in a table: one row a link, headings in Russian, a title above them."""
    rows = [["Барометр свободы слова"], ["Раздел", "Месяц", "Текст", "Текст ссылки", "Ссылка"]]
    for one in draft_of_report.incidents:
        place = [f"{one.section}. {SECTIONS[one.section]}", MONTHS[one.month], one.text]
        rows += [[*place, link.anchor, link.url] for link in one.links] or [[*place, "", ""]]
    return rows


def csv_of(rows: list[list[str]], separator: str, encoding: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows(rows)
    return out.getvalue().encode(encoding)


def xlsx_of(rows: list[list[str]], *, linked: bool) -> bytes:
    """A workbook; *linked* puts the address behind the anchor's cell and leaves out its column."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row[:-1] if linked and len(row) > 1 else row)
        if linked and len(row) > 1 and row[-1].startswith("http"):
            book.active.cell(book.active.max_row, len(row) - 1).hyperlink = row[-1]
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
