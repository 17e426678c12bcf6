import io
import json
import zipfile
from datetime import UTC, datetime

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import UsageError
from archiver.incidents import register as module
from archiver.incidents.register import read_register

HEADER = "incident_id,url,role,note,Автор\n"
ROW = "KZ-1,https://a.test/путь,article,Жазба,Ә. Қ.\n"


@pytest.fixture
def reading(tmp_path):
    def read(data, name="r.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read_register(path)

    return read


def workbook(rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def xlsx(text):
    return workbook([line.split(",") for line in text.splitlines()])


def jsonl(text):
    header, *rows = [line.split(",") for line in text.splitlines()]
    return "\n".join(json.dumps(dict(zip(header, row, strict=False))) for row in rows)


@pytest.mark.parametrize(
    ("data", "name", "encoding"),
    [
        ((HEADER + ROW).encode(), "r.csv", "utf-8"),
        ((HEADER + ROW).encode("utf-8-sig"), "r.csv", "utf-8"),
        ((HEADER + ROW).encode("utf-16"), "r.csv", "utf-16"),
        ((HEADER + ROW).replace(",", ";").encode(), "r.csv", "utf-8"),
        ((HEADER + ROW).replace(",", "\t").encode("utf-16"), "R.TXT", "utf-16"),
        ((HEADER + ROW).replace("\n", "\r\n").encode(), "r.csv", "utf-8"),
        ("\n\n" + HEADER + "\n" + ROW, "r.csv", "utf-8"),
        (xlsx(HEADER + ROW), "r.xlsx", "xlsx"),
        (jsonl(HEADER + ROW), "r.jsonl", "utf-8"),
    ],
)
def test_every_form_of_a_register_gives_the_same_seed(reading, data, name, encoding):
    """Marks, separators, line ends and formats make no difference to what is captured."""
    result = reading(data, name)
    (seed,) = result.seeds
    assert result.problems == ()
    assert result.encoding == encoding
    assert (seed.url, seed.incident_ids, seed.role) == ("https://a.test/путь", ("KZ-1",), "article")
    assert dict(seed.row)["Автор"] == "Ә. Қ."
    assert list(seed.row) == ["incident_id", "url", "role", "note", "Автор"]


def test_windows_1251_is_read(reading):
    """A Cyrillic CSV as Excel exports it, in Windows-1251 with semicolons, is read as such."""
    data = "incident_id;url;note\nKZ-1;http://a.test/;Публикация «Дала»\n".encode("cp1251")
    result = reading(data)
    assert result.encoding == "windows-1251"
    assert result.seeds[0].note == "Публикация «Дала»"


def test_bad_rows_are_reported_with_their_line_and_stop_nothing(reading):
    """Each bad row gives its own problem, at its line; the good rows around them are captured."""
    result = reading(
        "incident_id,url,note\n"
        'KZ-1,http://a.test/1,"two\nlines"\n'
        "KZ 1,http://a.test/2,bad id\n"
        "KZ-1,ftp://a.test/3,bad scheme\n"
        ",http://a.test/4,no id\n"
        "KZ-1,,no url\n"
        "KZ-1,http://a.test/5,a,b,c\n"
        'KZ-1,http://a.test/6,"quo"te\n'
        "KZ-1,http://a.test/7\n"
    )
    assert [seed.line for seed in result.seeds] == [2, 10]
    assert [problem.line for problem in result.problems] == [4, 5, 6, 7, 8, 9]
    assert all(problem.what and problem.hint for problem in result.problems)
    assert result.seeds[0].note == "two\nlines"


def test_a_quote_never_closed_is_one_problem(reading):
    """Rows swallowed by an open quote are reported as not read, from the line where it opens."""
    result = reading(
        'incident_id,url,note\nKZ-1,http://a.test/1,x\nKZ-1,http://a.test/2,"open\nKZ-1,http://b.test\n'
    )
    assert [seed.line for seed in result.seeds] == [2]
    assert [problem.line for problem in result.problems] == [3]
    assert "lines 3 to" in result.problems[0].what


def test_a_row_that_comes_twice_is_captured_once_and_reported(reading):
    """The same incident and URL, however spelt, is one seed; under another incident it is another."""
    result = reading(
        "incident_id,url\nA,http://a.test/\nA,HTTP://A.test:80\nB,http://a.test/\nA,http://a.test/x\n"
    )
    assert [seed.line for seed in result.seeds] == [2, 4, 5]
    assert [(one.line, "line 2" in one.what) for one in result.duplicates] == [(3, True)]
    assert result.problems == ()


@pytest.mark.parametrize("cell", ["=1+1", "+7 701", "-x", "@SUM(A1)", '=HYPERLINK("http://b.test","x")'])
def test_a_cell_that_looks_like_a_formula_is_text(reading, cell):
    """Cells are kept as written and nothing is computed, in CSV and in XLSX."""
    row = ["A", "http://a.test/", cell]
    quoted = '"' + cell.replace('"', '""') + '"'
    for data, name in (
        (f"incident_id,url,note\nA,http://a.test/,{quoted}\n", "r.csv"),
        (workbook([["incident_id", "url", "note"], row]), "r.xlsx"),
    ):
        assert reading(data, name).seeds[0].note == cell


def test_a_formula_as_url_is_a_problem(reading):
    """A URL cell that holds a formula is not computed, so it is no URL."""
    result = reading(
        workbook([["incident_id", "url"], ["A", '="http://a.test/"'], ["A", "http://a.test/"]]), "r.xlsx"
    )
    assert [problem.line for problem in result.problems] == [2]
    assert len(result.seeds) == 1


def test_numbers_dates_and_gaps_of_a_workbook_are_kept_as_text(reading):
    """Numbers, dates and truth values become text; blank rows keep the row numbers right."""
    when = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).replace(tzinfo=None)
    data = workbook([["Incident ID", "URL", "n", "d", "b"], [], [], [7.0, "http://a.test/", 1.5, when, True]])
    (seed,) = reading(data, "r.xlsx").seeds
    assert seed.line == 4
    assert seed.incident_ids == ("7",)
    assert list(seed.row.values())[2:] == ["1.5", "2026-03-01T12:00:00", "True"]


def test_values_of_json_lines_are_kept(reading):
    """Numbers, lists and nulls of a JSON row travel on as their text; bad lines are reported."""
    lines = [
        '{"incident_id": "A", "url": "http://a.test/", "n": 1.50, "tags": ["x", {"y": null}], "z": null}',
        '{"incident_id": "A"}',
        "[1]",
        "{broken",
        '{"url": "http://a.test/", "URL": "http://b.test/", "incident_id": "A"}',
        "[" * 100_000,
        '{"incident_id": "A", "url": "http://a.test/2", "note": "\\ud800"}',
    ]
    result = reading("\n".join(lines), "r.jsonl")
    assert [problem.line for problem in result.problems] == [2, 3, 4, 5, 6, 7]
    assert list(result.seeds[0].row.values())[2:] == ["1.5", '["x", {"y": null}]', ""]


@pytest.mark.parametrize(
    ("data", "name", "match"),
    [
        (b"", "r.csv", "empty"),
        (b" \r\n \n", "r.csv", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "r.csv", "binary"),
        (b"incident_id,url\nA,http://a.test/\x00\n", "r.csv", "binary"),
        (b"\xff\xfe\x00", "r.csv", "binary"),
        (b"A,http://a.test/\n", "r.csv", "header"),
        (b"incident_id,link\nA,http://a.test/\n", "r.csv", "header"),
        (b"incident_id|url\nA|http://a.test/\n", "r.csv", "header"),
        (b"incident_id,url,URL\nA,http://a.test/,x\n", "r.csv", "twice"),
        (b'"incident_id,url\n', "r.csv", "header"),
        (b"incident_id,url\n", "r.csv", "one row"),
        (b"incident_id,url," + b",".join(b"c%d" % n for n in range(300)), "r.csv", "columns"),
        (b"not a zip", "r.xlsx", "workbook"),
        (workbook([]), "r.xlsx", "header"),
        (workbook([["incident_id", "url"]]), "r.xlsx", "one row"),
        (b"incident_id,url\nA,http://a.test/\n", "r.ods", "name"),
        (b"incident_id,url\nA,http://a.test/\n", "r", "name"),
        (b"\x80\x81\x98", "r.jsonl", "binary"),
    ],
)
def test_what_is_no_register_is_refused_whole(reading, data, name, match):
    """Empty, binary, headless, unknown and broken files are one clear error with a hint."""
    with pytest.raises(UsageError, match=match) as caught:
        reading(data, name)
    assert caught.value.code == "E242"
    assert caught.value.hint
    assert str(caught.value).startswith(f"register {name}: ")


def test_a_missing_register_and_a_folder_are_refused(tmp_path):
    """A path that cannot be read is the caller's error, not a traceback."""
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "folder.csv"):
        with pytest.raises(UsageError, match="E242"):
            read_register(tmp_path / name)


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.xlsx"])
def test_too_many_rows_are_refused(reading, monkeypatch, name):
    """Past the limit of rows nothing is read on, in any format."""
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    text = "incident_id,url\n" + "".join(f"A,http://a.test/{n}\n" for n in range(4))
    data = {"r.csv": text, "r.jsonl": jsonl(text), "r.xlsx": xlsx(text)}[name]
    with pytest.raises(UsageError, match="at most 3"):
        reading(data, name)


def test_too_large_files_and_cells_are_refused(reading, monkeypatch):
    """A file over the limit is refused whole, a cell over it costs its row only."""
    result = reading("incident_id,url,note\nA,http://a.test/," + "x" * 40_000 + "\nA,http://a.test/,y\n")
    assert [problem.line for problem in result.problems] == [2]
    assert len(result.seeds) == 1
    monkeypatch.setattr(module, "MAX_REGISTER_BYTES", 100)
    with pytest.raises(UsageError, match="at most 100 bytes"):
        reading("incident_id,url\nA,http://a.test/" + "x" * 100)


def test_a_workbook_that_unpacks_to_too_much_is_refused(reading):
    """A ZIP bomb is refused by what it states it unpacks to, before it is unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b" " * (33 * 1024 * 1024))
    with pytest.raises(UsageError, match="unpacked size"):
        reading(out.getvalue(), "r.xlsx")


@settings(max_examples=150)
@given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl", "xlsx"]))
def test_any_bytes_are_a_reading_or_a_clear_error(tmp_path_factory, data, ending):
    """No file of any bytes makes anything but a reading or our own error."""
    path = tmp_path_factory.mktemp("register") / f"r.{ending}"
    path.write_bytes(b"incident_id,url\n" + data if ending == "csv" else data)
    try:
        result = read_register(path)
    except UsageError as error:
        result = error
    if isinstance(result, UsageError):
        assert result.code == "E242"
    else:
        assert result.seeds or result.problems
