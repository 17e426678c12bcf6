import csv
import json
from dataclasses import replace

import pytest

from archiver.cli.main import run
from archiver.incidents.merging import COLUMNS
from tests.unit.archiver.incidents.barometer import (
    REPORT,
    chromium_pdf,
    csv_of,
    expected,
    pandoc,
    read,
    report_with_targets,
    table,
    typeset_pdf,
    xlsx_of,
)

pytestmark = pytest.mark.xdist_group("barometer")
LANDSCAPE = "<style>@page{size:A4 landscape;margin:1cm}body{text-align:justify;hyphens:auto}</style>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("barometer")


@pytest.fixture(scope="module")
def original(folder):
    """The report with targets, read from Markdown."""
    path = folder / "report.md"
    path.write_text(report_with_targets(), "utf-8")
    return read(path)


def links(draft):
    return [
        (str(one.section), one.month, link.anchor, link.url) for one in draft.incidents for link in one.links
    ]


def plain(draft):
    """What a register is made of; how pages divide a text into paragraphs is no difference."""
    return [replace(one, text=" ".join(one.text.split())) for one in draft.incidents]


def test_the_real_report_gives_each_link_in_its_section_month_and_incident(tmp_path):
    """81 links in 6 sections, as a person has put them in a table beside the report."""
    register = tmp_path / "r.csv"
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", str(register)]
    assert run(["incidents", "import", str(REPORT), *words]) == 0
    with register.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [{name: row[name] for name in expected()[0]} for row in rows] == expected()
    assert len(rows) == 81
    assert {row["url"] for row in rows} == {""}
    assert {row["note"] for row in rows} == {"target lost: the document has '#'"}


def test_every_lost_target_is_told_with_its_anchor(tmp_path, capfd):
    """What the document has lost is named link by link, for people and for scripts, and never made up."""
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o"]
    assert run(["incidents", "import", str(REPORT), *words, str(tmp_path / "a.csv")]) == 0
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lost target: ")]
    wanted = [f"lost target: {row['incident_id']}: {row['anchor']}" for row in expected()]
    assert told == wanted
    assert run(["incidents", "import", str(REPORT), *words, str(tmp_path / "b.csv"), "--json"]) == 0
    lost = json.loads(capfd.readouterr().out)["lost"]
    assert [(one["incident_id"], one["anchor"]) for one in lost] == [
        (row["incident_id"], row["anchor"]) for row in expected()
    ]


def test_introduction_and_contact_line_are_no_incidents(original):
    """What says nothing of one matter stands outside: title, overview, what opens section 6, the address."""
    assert len(original.outside) == 7
    assert original.outside[0] == "FREEDOM OF SPEECH BAROMETER IN KAZAKHSTAN"
    assert original.outside[5].startswith("On 15 March, a nationwide referendum")
    assert original.outside[6].endswith("mediastana@gmail.com")
    texts = "\n".join(one.text for one in original.incidents)
    assert "mediastana" not in texts
    assert "unprecedented testing" not in texts


def test_paragraphs_that_pages_broke_are_whole(original):
    """No incident begins in the middle of a sentence, and the broken sentences are joined."""
    assert all(not one.text[0].islower() for one in original.incidents)
    text = "\n".join(one.text for one in original.incidents)
    for joined in (
        "authorities to ensure the protection of freedom",
        "to ensure a comprehensive, objective",
        "access to information effectively ceased",
        "a 'lack of technical capability'",
        "previously published material concerning",
        "had committed any unlawful acts",
        "years' experience in conducting",
    ):
        assert joined in text


def test_incidents_without_a_link_are_incidents(original):
    """Seven matters of the report have no source; they have an ID and are told."""
    bare = [one.text for one in original.incidents if not one.links]
    begins = (
        "The weekly newspaper ‘Nasha Gazeta’ received a pre-trial claim",
        "KomTransLeasing LLP has filed a lawsuit",
        "On 20 January, journalist Zhania Urankaeva",
        "Zhaniya Urankaeva, a correspondent",
        "On 28 January, Aizhan Auelbekova",
        "Press.kz journalist Zhania Urankaeva",
        "Meta removed dozens of posts",
    )
    assert [text[: len(begin)] for text, begin in zip(bare, begins, strict=True)] == list(begins)


def test_docx_gives_the_same_register(folder, original):
    """Word's own numbering and its links by relationship are read as the text is."""
    assert plain(read(pandoc(report_with_targets(), folder / "r.docx"))) == plain(original)


def test_html_gives_the_same_register(folder, original):
    """A page with numbered lists for headings is read as the text is."""
    assert plain(read(pandoc(report_with_targets(), folder / "r.html", "--metadata=title=B"))) == plain(
        original
    )


def test_lost_targets_are_lost_in_every_format(folder):
    """``#`` behind a link is no address in DOCX, HTML and PDF either."""
    text = REPORT.read_text("utf-8")
    page = pandoc(text, folder / "lost.html", "--metadata=title=B")
    files = [pandoc(text, folder / "lost.docx"), page, chromium_pdf(page, folder / "lost.pdf")]
    wanted = [(row["section"], row["month"], row["anchor"], "") for row in expected()]
    for path in files:
        assert links(read(path)) == wanted, path.suffix


@pytest.mark.parametrize("options", [(), ("--no-pdf-header-footer",)])
def test_a_browsers_pdf_gives_the_same_register(folder, original, options):
    """Lines, pages, running heads and page numbers of a print are no part of the text."""
    page = pandoc(report_with_targets(), folder / "print.html", "--metadata=title=B")
    path = chromium_pdf(page, folder / f"print{len(options)}.pdf", *options)
    assert plain(read(path)) == plain(original)


def test_a_justified_print_with_broken_words_gives_the_same_register(folder, original):
    """Hyphens at line ends are taken out where they break a word, and stay where they are the word's own."""
    page = pandoc(report_with_targets(), folder / "wide.html", "--metadata=title=B", "--metadata=lang=en")
    page.write_text(page.read_text("utf-8").replace("</head>", LANDSCAPE + "</head>"), "utf-8")
    assert plain(read(chromium_pdf(page, folder / "wide.pdf"))) == plain(original)


def test_a_typeset_pdf_gives_the_same_register(folder, original):
    """The same from another maker of PDFs, on small pages with running heads, words broken at line ends.

    Whether a hyphen at a line's end is the word's own nobody can tell where the word never comes whole.
    """
    found = read(typeset_pdf(report_with_targets(), folder / "set.pdf"))
    assert links(found) == links(original)
    assert [one.text.replace("-", "") for one in plain(found)] == [
        one.text.replace("-", "") for one in plain(original)
    ]
    assert sum(a.text != b.text for a, b in zip(plain(found), plain(original), strict=True)) <= 2


@pytest.mark.parametrize(
    ("separator", "encoding"), [(",", "utf-8-sig"), (";", "windows-1251"), ("\t", "utf-16")]
)
def test_a_csv_table_gives_the_same_links(folder, original, separator, encoding):
    """A table with Russian headings, however Excel saved it, gives each link in its place."""
    rows = [[cell.encode(encoding, "replace").decode(encoding) for cell in row] for row in table(original)]
    path = folder / "table.csv"
    path.write_bytes(csv_of(rows, separator, encoding))
    found = read(path)
    damaged = [
        (*one[:2], one[2].encode(encoding, "replace").decode(encoding), one[3]) for one in links(original)
    ]
    assert links(found) == damaged
    assert len(found.incidents) == len(original.incidents)


@pytest.mark.parametrize("linked", [False, True])
def test_a_workbook_gives_the_same_links(folder, original, linked):
    """With addresses in a column of their own, or behind the cells."""
    path = folder / "table.xlsx"
    path.write_bytes(xlsx_of(table(original), linked=linked))
    found = read(path)
    assert links(found) == links(original)
    assert [one.text for one in plain(found)] == [one.text for one in plain(original)]
