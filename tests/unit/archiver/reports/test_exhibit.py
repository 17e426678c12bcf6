from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from PIL import Image

from archiver.capture.outcome import OutcomeKind
from archiver.errors import UsageError
from archiver.reports.document import printable, render_pdf
from archiver.reports.exhibit import exhibit_document
from archiver.reports.exhibit_order import Form, Order, Shot, Source
from archiver.reports.exhibit_source import Gathering, gather
from archiver.reports.gates import open_gates
from archiver.reports.pictures import PictureUnreadable, cut_picture
from archiver.reports.words import LANGUAGES, words_of
from manifests.commitments import commit
from manifests.record_process import Access, Statement
from manifests.trust import parse_trust
from storage.folder import FolderStore
from tests.vectors.test_vectors import CORPUS

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
CAPTURE = "20261124t081203z-7f3k2m9qx4"
KAZAKH = "ӘәҒғҚқҢңӨөҰұҮүҺһІі"
ANSWERED = Statement(when="24.11.2026", by_whom="A. B.", conditions="Almaty", circumstances="a tip")


@dataclass
class Case:
    source: Source
    pictures: Path
    out: Path

    def change(self, **fields) -> None:
        self.source = replace(self.source, record=msgspec.structs.replace(self.source.record, **fields))

    def pdf(self, order: Order, language: str = "en") -> Path:
        render_pdf(exhibit_document(self.source, order, words_of(language)), self.pictures, self.out)
        return self.out

    def text(self, order: Order, language: str = "en") -> str:
        made = self.pdf(order, language)
        return subprocess.run(
            ["pdftotext", "-layout", made, "-"], capture_output=True, check=True, text=True
        ).stdout


@pytest.fixture
def case(tmp_path):
    """A sealed capture that passes, in a store."""
    vector = CORPUS / "passed--batch"
    shutil.copytree(vector / "capture", tmp_path / "store" / "captures" / CAPTURE)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    trust = parse_trust((vector / "trust.toml").read_bytes())
    source = gather(Gathering(FolderStore(tmp_path / "store"), trust, pictures, NOW), CAPTURE)
    return Case(source, pictures, tmp_path / "exhibit.pdf")


def png(width: int, height: int) -> io.BytesIO:
    data = io.BytesIO()
    picture = Image.new("RGB", (width, height), "white")
    for row in range(height):
        picture.putpixel((row % width, row), (row % 256, row // 256 % 256, 9))
    picture.save(data, "PNG")
    data.seek(0)
    return data


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", get_args(Form))
def test_each_language_and_form_prints_with_all_its_letters(case, language, form):
    """A judge reads the exhibit: every letter of the language is drawn, and the digest stands in full."""
    order = Order(number=f"7 {KAZAKH}", form=form)
    printed = case.text(order, language)
    assert KAZAKH in printed
    assert case.source.report.record_sha256 in printed
    assert words_of(language)(f"declaration.{form}.title").split()[0] in printed
    fonts = subprocess.run(["pdffonts", case.out], capture_output=True, check=True, text=True).stdout
    # The page's own text has an emoji, which a colour font draws.
    lines = [line for line in fonts.splitlines()[2:] if "Type 3" not in line]
    assert {line.split()[0].split("+")[-1] for line in lines} <= {
        "NotoSans-Regular",
        "NotoSans-Bold",
        "DejaVuSansMono",
    }
    assert all(re.search(r" yes yes (yes|no) ", line) for line in lines)


def test_every_language_has_the_same_words():
    """A word that one language lacks would fail before a court."""
    english = words_of("en").entries
    for language in LANGUAGES:
        entries = words_of(language).entries
        assert entries.keys() == english.keys()
        for key, text in english.items():
            slots = re.findall(r"{(\w+)}", " ".join(text) if isinstance(text, list) else text)
            found = entries[key]
            got = re.findall(r"{(\w+)}", " ".join(found) if isinstance(found, list) else found)
            if not key.startswith("declaration."):
                assert sorted(slots) == sorted(got), (language, key)


def test_every_outcome_has_a_word():
    """An outcome is never printed as a code of ours."""
    for language in LANGUAGES:
        assert {f"outcome.{kind}" for kind in get_args(OutcomeKind)} <= words_of(language).entries.keys()


def test_an_exhibit_made_again_is_the_same(case):
    """Two printings compare equal, byte by byte."""
    first = case.pdf(Order(number="1")).read_bytes()
    assert case.pdf(Order(number="1")).read_bytes() == first
    assert case.pdf(Order(number="2")).read_bytes() != first


def test_record_and_seal_are_inside_byte_for_byte(case, tmp_path):
    """What the exhibit attaches is what the verifier checks."""
    out = tmp_path / "attached"
    out.mkdir()
    subprocess.run(["pdfdetach", "-saveall", "-o", out, case.pdf(Order(number="1"))], check=True)
    assert (out / "record.json").read_bytes() == case.source.record_bytes
    for name, data in case.source.seal.items():
        assert (out / f"seal-{name}").read_bytes() == data
    assert b"pdfaid:part>3" in case.out.read_bytes()
    assert (out / "verify.sh").read_text() == case.source.script


def test_a_long_page_is_printed_whole(case):
    """Put together again, the parts are the screenshot, pixel by pixel, each on a page of its own."""
    height = 9_000
    parts = list(cut_picture(png(1_280, height), "long", case.pictures))
    whole = Image.open(png(1_280, height))
    top = 0
    for part in parts:
        piece = Image.open(case.pictures / part.path)
        assert piece.tobytes() == whole.crop((0, top, 1_280, top + piece.height)).tobytes()
        top += piece.height
    assert top == height
    case.source = replace(case.source, shots=[Shot(case.source.record.artifacts[1], parts)])
    printed = case.text(Order(number="1"))
    assert all(f"part {part.number} of {len(parts)}" in printed for part in parts)


def test_what_a_page_says_is_never_markup(case):
    """A title in typst's own language, with a direction mark and a control character, is printed as it is."""
    title = '#read("/etc/passwd") *x* $y$ // \u202e\x07 \\ [link] @ref ' + "w" * 400
    case.change(target=msgspec.structs.replace(case.source.record.target, title=title))
    printed = case.text(Order(number="#panic()", offered="#let x = 1"))
    assert '#read("/etc/passwd") *x* $y$ //' in printed
    assert "#panic()" in printed
    assert "root:" not in printed
    assert "\u202e" not in printed


def test_long_words_can_break_and_short_text_stays(case):
    """No line runs out of the page."""
    assert printable("a short text") == "a short text"
    assert "\u200b" in printable("x" * 100)
    assert printable("ab" * 32) == "ab" * 32
    assert printable("a\u202eb\x00c") == "ab\ufffdc"


def test_the_public_edition_tells_no_opened_fact(case):
    """What is opened for a court is printed there, and in the public edition only its digest."""
    commitment, opening = commit("collector.operator", "Айгүл Жан")
    case.change(commitments=(commitment,))
    court = case.text(Order(number="1", audience="court", opened=(opening,)))
    public = case.text(Order(number="1", audience="public", opened=(opening,)))
    assert "Айгүл Жан" in court
    assert commitment.digest not in court
    assert "Айгүл" not in public
    assert commitment.digest in public
    assert opening.salt not in public


@pytest.mark.parametrize(
    ("answer", "text"),
    [("when", ""), ("by_whom", " "), ("conditions", "[place, network]"), ("circumstances", "TODO")],
)
def test_a_gate_is_open_while_an_answer_is_missing_or_a_template(case, answer, text):
    """Each of the four answers of CPC article 99(2) is asked for, and a template is none."""
    case.change(statement=msgspec.structs.replace(ANSWERED, **{answer: text}))
    gates = open_gates(case.source.record, case.source.report, ())
    assert len(gates) == 1
    assert answer.replace("_", " ") in gates[0]


def test_no_gate_is_open_for_a_capture_that_is_fit(case):
    """The gates can be passed; an opened name answers by whom."""
    case.change(statement=ANSWERED)
    assert open_gates(case.source.record, case.source.report, ()) == []
    _, opening = commit("collector.operator", "A. B.")
    case.change(statement=msgspec.structs.replace(ANSWERED, by_whom=None))
    assert open_gates(case.source.record, case.source.report, (opening,)) == []


def test_pretext_and_failed_evidence_open_gates(case):
    """Deception and evidence that did not pass are for a lawyer to decide, and are named."""
    case.change(statement=ANSWERED, access=Access(kind="closed", pretext_used=True))
    (pretext,) = open_gates(case.source.record, case.source.report, ())
    assert "pretext" in pretext
    vector = CORPUS / "passed--batch"
    store = case.pictures.parent / "store"
    name = store / "captures" / CAPTURE / "text.txt"
    name.chmod(0o600)
    name.write_bytes(b"other")
    trust = parse_trust((vector / "trust.toml").read_bytes())
    source = gather(Gathering(FolderStore(store), trust, case.pictures, NOW), CAPTURE)
    assert any("verifier says failed" in gate for gate in open_gates(case.source.record, source.report, ()))


def test_without_trust_nothing_is_called_sealed(case):
    """Who gives no trust file reads that the time is unproven."""
    store = FolderStore(case.pictures.parent / "store")
    case.source = gather(Gathering(store, None, case.pictures, NOW), CAPTURE)
    printed = case.text(Order(number="1", audience="counsel"))
    assert words_of("en")("summary.unproven") in printed
    assert words_of("en")("state.unsealed") in printed
    assert words_of("en")("state.sealed") not in printed


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>"], ids=["none", "gif", "cut", "svg"]
)
def test_an_exhibit_that_is_no_picture_is_an_error_of_ours(tmp_path, data):
    """Hostile bytes in the place of a screenshot are named, not printed."""
    with pytest.raises(PictureUnreadable):
        list(cut_picture(io.BytesIO(data), "x", tmp_path))


def test_an_unknown_language_is_an_error():
    """There are three."""
    with pytest.raises(UsageError):
        words_of("de")
