import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.cli.main import run
from archiver.incidents.importers.from_csv import read as read_csv
from archiver.incidents.register import read_register
from archiver.incidents.register_files import csv_bytes
from archiver.incidents.safe_cells import guarded, unguarded
from archiver.incidents.sidecar import schema, sidecar_path
from tests.unit.archiver.incidents.barometer import REPORT, report_with_targets

SCHEMA = Path(__file__).parents[4] / "docs" / "register-sidecar.schema.json"
FIRST = """1. Law

January

[Journalist Aigul](https://a.test/1) was fined 100,000 tenge by the city court for an article on bailiffs.

[Editor Serik Omarov](https://a.test/2) received a claim from the ministry over a report on tenders.

March

[The site](https://a.test/3) of the weekly was attacked and could not be opened for three days.

2. Net

[A channel](https://a.test/4) was removed by the platform after complaints that nobody can explain.
"""


@pytest.fixture
def importing(tmp_path, capfd):
    """Import a text into one register; return what was told, and the rows by incident."""

    def importing(text, *options, code=0, name="report.md"):
        source = tmp_path / name
        source.write_text(text, "utf-8")
        register = tmp_path / "r.csv"
        words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", str(register), "--json", *options]
        assert run(["incidents", "import", str(source), *words]) == code
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return (json.loads(out) if out else err), rows_of(register) if register.exists() else {}

    return importing


def rows_of(register):
    with register.open(encoding="utf-8-sig", newline="") as file:
        return {row["anchor"]: row for row in csv.DictReader(file)}


FIRST_IDS = {
    "Journalist Aigul": "1.01",
    "Editor Serik Omarov": "1.02",
    "The site": "1.03",
    "A channel": "2.01",
}


def ids(rows):
    return {anchor: row["incident_id"].removeprefix("KZ-2026-Q1-") for anchor, row in rows.items()}


def test_ids_count_within_their_section(importing):
    """Country, quarter, section, ordinal."""
    _, rows = importing(FIRST)
    assert ids(rows) == FIRST_IDS


def test_the_same_document_again_changes_nothing(importing, tmp_path):
    """Not a byte of either file."""
    importing(FIRST)
    before = [(tmp_path / name).read_bytes() for name in ("r.csv", "r.incidents.json")]
    told, _ = importing(FIRST)
    assert (told["same"], told["new"], told["changed"], told["gone"]) == (4, [], [], [])
    assert [(tmp_path / name).read_bytes() for name in ("r.csv", "r.incidents.json")] == before


def test_edited_reordered_and_moved_incidents_keep_their_ids(importing):
    """An edit, another order, another month and another section are no other incident."""
    importing(FIRST)
    parts = FIRST.split("\n\n")
    aigul = parts[2].replace("100,000", "120,000").replace("the city court", "the Almaty city court")
    edited = "\n\n".join([parts[0], "February", parts[3], aigul, parts[6], parts[5], parts[7]])
    told, rows = importing(edited)
    assert ids(rows) == FIRST_IDS
    changed = {one["incident_id"][-4:]: one["what"] for one in told["changed"]}
    assert changed == {"1.02": ["month"], "1.01": ["month", "title", "text"], "1.03": ["section", "month"]}
    assert (told["new"], told["gone"], told["same"]) == ([], [], 1)


def test_a_gone_incidents_id_is_never_given_to_another(importing):
    """What takes its place gets the next number, also in later imports; coming back it has its own."""
    importing(FIRST)
    aigul, site = FIRST.split("\n\n")[2], FIRST.split("\n\n")[5]
    other = (
        "[Blogger Dina](https://b.test/9) says that strangers broke the windows of her car at night in Oral."
    )
    told, rows = importing(FIRST.replace(site, other))
    assert told["gone"] == ["KZ-2026-Q1-1.03"]
    assert told["new"] == ["KZ-2026-Q1-1.04"]
    assert ids(rows)["Blogger Dina"] == "1.04"
    third = "[Reporter Ainur](https://b.test/8) was not let into the hearing, which was open to all."
    told, rows = importing(FIRST.replace(site, f"{other}\n\n{third}").replace(aigul, ""))
    assert ids(rows)["Reporter Ainur"] == "1.05"
    told, rows = importing(FIRST)
    assert told["returned"] == ["KZ-2026-Q1-1.01", "KZ-2026-Q1-1.03"]
    assert ids(rows)["The site"] == "1.03"
    told, rows = importing(
        FIRST.replace(site, third.replace("Ainur", "Saule").replace("hearing", "town hall meeting"))
    )
    assert "1.03" not in ids(rows).values()


def test_the_real_report_keeps_every_id_when_half_of_it_is_edited(importing):
    """Targets found, an incident put in before all others, one taken out, words changed in the rest."""
    importing(REPORT.read_text("utf-8"))
    text = (
        report_with_targets()
        .replace(" that ", " which ")
        .replace("Kazakhstan ", "the Republic of Kazakhstan ")
    )
    text = text.replace("January. [The int", "[The int", 1)
    text = text.replace(
        "January. The international",
        "January. [Somebody quite else](https://n.test/) opened a museum in Oral.\n\nThe international",
        1,
    )
    cut = next(part for part in text.split("\n\n") if part.startswith("[Azat Peruashev]"))
    told, rows = importing(text.replace(cut, ""))
    assert told["new"] == ["KZ-2026-Q1-1.09"]
    assert told["gone"] == ["KZ-2026-Q1-1.07"]
    assert told["incidents"] == 74
    assert ids(rows)["Amnesty International highlighted pressure on the media"] == "1.01"


def test_what_people_wrote_into_the_register_stays(importing, tmp_path):
    """A found address, a role, a note, a column and a row of their own outlive the next import."""
    lost = FIRST.replace("https://a.test/2", "#")
    importing(lost)
    path = tmp_path / "r.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    for row in rows:
        row["vantage"] = "kz-ala"
        if row["anchor"] == "Editor Serik Omarov":
            row |= {"url": "https://found.test/", "role": "official"}
    mine = rows[0] | {
        "anchor": "my screenshot",
        "url": "https://mine.test/",
        "role": "screenshot",
        "note": "by me",
    }
    path.write_bytes(csv_bytes(list(rows[0]), [*rows, mine]))
    told, found = importing(lost.replace("three days", "four days"))
    assert told["lost"] == []
    assert (found["Editor Serik Omarov"]["url"], found["Editor Serik Omarov"]["note"]) == (
        "https://found.test/",
        "",
    )
    assert found["Editor Serik Omarov"]["role"] == "official"
    assert found["my screenshot"] | {"title": ""} == mine | {"title": ""}
    assert found["The site"]["vantage"] == "kz-ala"
    assert "four days" in found["The site"]["title"]


@pytest.mark.parametrize("code_page", ["windows-1251", "windows-1252"])
def test_a_register_that_a_spreadsheet_garbled_is_mended(importing, tmp_path, code_page):
    """UTF-8 taken for a code page, and a month taken for a date, are nobody's edits."""
    _, before = importing(FIRST.replace("Journalist Aigul", "Journalist “Aigul” – no"))
    path = tmp_path / "r.csv"
    text = path.read_bytes().decode(code_page, "replace").replace("2026-01", "Jan-26")
    if "\ufffd" in text:
        pytest.skip("these letters do not survive this code page")
    path.write_text(text, "utf-8")
    assert importing(FIRST.replace("Journalist Aigul", "Journalist “Aigul” – no"))[1] == before


def test_a_register_without_its_sidecar_is_not_carried_on(importing, tmp_path):
    """The IDs would be given anew, to other incidents: refused, and the register is as it was."""
    importing(FIRST)
    (tmp_path / "r.incidents.json").unlink()
    before = (tmp_path / "r.csv").read_bytes()
    told, _ = importing(FIRST, code=2)
    assert "[E245]" in told
    assert (tmp_path / "r.csv").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": "archiver-register"}', b"\xff\xfe\x00"])
def test_a_damaged_sidecar_is_refused(importing, tmp_path, damage):
    """Nothing is drafted over what can be restored."""
    importing(FIRST)
    (tmp_path / "r.incidents.json").write_bytes(damage)
    assert "[E245]" in importing(FIRST, code=2)[0]


def test_another_quarter_is_another_register(importing):
    """A register of one quarter takes no other."""
    importing(FIRST)
    assert "expected KZ 2026-Q2, got KZ 2026-Q1 [E245]" in importing(FIRST, "--quarter", "2026-Q2", code=2)[0]


def test_a_dry_run_writes_nothing(importing, tmp_path):
    """It tells what would change."""
    told, rows = importing(FIRST, "--dry-run")
    assert told["new"]
    assert rows == {}
    assert not (tmp_path / "r.incidents.json").exists()


def test_the_sidecar_is_as_its_schema_says(importing, tmp_path):
    """The published schema is that of the program, and the real report's sidecar fits it."""
    assert json.loads(SCHEMA.read_text("utf-8")) == schema(), "run `python -m archiver.incidents.sidecar`"
    importing(report_with_targets())
    sidecar = json.loads(sidecar_path(tmp_path / "r.csv").read_text("utf-8"))
    jsonschema.validate(sidecar, schema())
    assert len(sidecar["incidents"]) == 74
    assert sum(len(one["links"]) for one in sidecar["incidents"]) == 81


def test_no_cell_is_a_formula_for_a_spreadsheet(importing, tmp_path):
    """Titles and anchors that begin like a formula are shown as text, and read back as they were."""
    text = '1. S\n\n[=HYPERLINK("http://evil.test")](http://a.test/) x.\n\n'
    text += "[@sum+cmd|' /C calc'!A0](http://b.test/) y."
    importing(text)
    with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r")]
    assert '\'=HYPERLINK("http://evil.test")' in cells
    anchors = [run.text for one in read_csv((tmp_path / "r.csv").read_bytes()).paragraphs for run in one.runs]
    assert '=HYPERLINK("http://evil.test")' in anchors


@given(st.text(st.sampled_from("'=+-@\t\r\nab＝"), max_size=6))
def test_a_guarded_cell_comes_back(text):
    """Whatever a cell begins with, apostrophes included."""
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in set("=+-@\t\r\n＝")


def test_batch_takes_the_register_as_it_is(importing, tmp_path):
    """Rows with a target are seeds, rows without one are told as lost, and none is a bad row."""
    importing(FIRST.replace("https://a.test/2", "#"))
    reading = read_register(tmp_path / "r.csv")
    assert [seed.url for seed in reading.seeds] == [
        "https://a.test/1",
        "https://a.test/3",
        "https://a.test/4",
    ]
    assert reading.problems == ()
    (lost,) = reading.lost
    assert lost.line == 3
    assert "target lost of 'Editor Serik Omarov'" in lost.what


def test_a_batch_of_lost_targets_alone_tells_them_and_ends_in_part(tmp_path, capfd, monkeypatch):
    """Nothing can be captured yet, which is no error of the register."""
    monkeypatch.chdir(tmp_path)
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", "r.csv"]
    assert run(["incidents", "import", str(REPORT), *words]) == 0
    capfd.readouterr()
    assert run(["batch", "r.csv", "--json"]) == 3
    problems = json.loads(capfd.readouterr().out)["problems"]
    assert [one["kind"] for one in problems] == ["lost"] * 81
