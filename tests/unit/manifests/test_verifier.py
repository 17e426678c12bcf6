import io
import json
import os
import shutil
from pathlib import Path

import pytest

from manifests.codec import encode
from manifests.errors import MalformedRecord
from manifests.evidence_set import Entry, FolderSet, SetUnreadable
from manifests.findings import Area, Code
from manifests.record import Completeness, MissingPart
from manifests.record_process import Clock, Collector
from manifests.report import Verdict, report_lines, report_object
from manifests.verifier import Expectation, SealResult, verify_capture
from tests.unit.manifests import records
from tests.unit.manifests.captures import PNG, artifact, found_codes, replace_artifact, wacz, write_capture


@pytest.fixture
def good(tmp_path):
    return write_capture(tmp_path / "capture")


def rewrite_record(folder, change):
    """Change the record as JSON and write it canonically, as a forger without the key would."""
    path = folder / "record.json"
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def test_a_sound_capture_without_a_seal_has_integrity_and_nothing_else(good):
    """Unsealed evidence is whole, and who made it, when, and whether others were left out is unproven."""
    report = verify_capture(FolderSet(good), "x")
    assert report.overall is Verdict.INDETERMINATE
    assert report.codes() == {Code.UNSEALED, Code.UNSIGNED, Code.UNLOGGED}
    assert report.verdicts[Area.INTEGRITY] is Verdict.PASSED
    assert report.verdicts[Area.TIME] is Verdict.INDETERMINATE
    assert report.verdicts[Area.IDENTITY] is Verdict.INDETERMINATE
    assert report.verdicts[Area.COMPLETENESS] is Verdict.INDETERMINATE
    assert report.file_count == 3
    assert report.file_bytes == sum(p.stat().st_size for p in good.iterdir() if p.name != "record.json")


def test_a_seal_that_proves_everything_makes_it_pass(good):
    """With a seal check that finds nothing wrong the verdict is passed, and what it proved is said."""
    (good / "seal").mkdir()
    (good / "seal" / "record.json.sig").write_bytes(b"signature")
    given = {}

    def check(files, data, record):
        given.update(files=dict(files), data=data, record=record)
        return SealResult((), frozenset(files), ("signed by somebody",))

    report = verify_capture(FolderSet(good), "x", seal_check=check)
    assert report.overall is Verdict.PASSED
    assert report.proven == ["signed by somebody"]
    assert given["files"] == {"seal/record.json.sig": b"signature"}
    assert given["data"] == (good / "record.json").read_bytes()


def test_a_seal_that_nobody_checks_is_no_seal(good):
    """Without keys to check it against a seal leaves the verdict open and says so."""
    (good / "seal").mkdir()
    (good / "seal" / "record.json.sig").write_bytes(b"signature")
    report = verify_capture(FolderSet(good), "x")
    assert report.codes() == {Code.SEAL_NOT_CHECKED}
    assert report.overall is Verdict.INDETERMINATE
    assert report.unchecked


def test_a_file_that_the_seal_does_not_use_is_unlisted(good):
    """The seal's folder is no hiding place."""
    (good / "seal").mkdir()
    (good / "seal" / "record.json.sig").write_bytes(b"signature")
    (good / "seal" / "record.tsr").write_bytes(b"reply")
    used = frozenset({"seal/record.json.sig"})
    assert found_codes(good, seal_check=lambda *_: SealResult((), used)) == {Code.UNLISTED_FILE}


def _set_bytes(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def _flip(name, at):
    def change(folder):
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 1
        (folder / name).write_bytes(data)

    return change


def _swap(folder):
    first, second = folder / "text.txt", folder / "screenshot-viewport.png"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def _link(folder):
    (folder / "text.txt").rename(folder.parent / "elsewhere.txt")
    (folder / "text.txt").symlink_to(folder.parent / "elsewhere.txt")


def _linked_folder(folder):
    (folder.parent / "other").mkdir()
    (folder / "seal").symlink_to(folder.parent / "other")


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (_flip("text.txt", 0), {Code.ARTIFACT_DIGEST_MISMATCH}),
        (_flip("screenshot-viewport.png", -1), {Code.ARTIFACT_DIGEST_MISMATCH}),
        (_set_bytes("text.txt", b""), {Code.ARTIFACT_SIZE_MISMATCH}),
        (_set_bytes("text.txt", b"longer than it was by very far"), {Code.ARTIFACT_SIZE_MISMATCH}),
        (_swap, {Code.ARTIFACT_SIZE_MISMATCH}),
        (lambda f: (f / "text.txt").unlink(), {Code.ARTIFACT_MISSING}),
        (lambda f: (f / "capture.wacz").unlink(), {Code.ARTIFACT_MISSING}),
        (lambda f: (f / "record.json").unlink(), {Code.RECORD_MISSING}),
        (_set_bytes("notes.txt", b"x"), {Code.UNLISTED_FILE}),
        (_set_bytes(".hidden", b"x"), {Code.UNSAFE_NAME}),
        (_set_bytes("Ünsafe.txt", b"x"), {Code.UNSAFE_NAME}),
        (_set_bytes("a b", b"x"), {Code.UNSAFE_NAME}),
        (_link, {Code.NOT_A_PLAIN_FILE, Code.ARTIFACT_MISSING}),
        (_linked_folder, {Code.NOT_A_PLAIN_FILE}),
        (lambda f: os.mkfifo(f / "pipe"), {Code.NOT_A_PLAIN_FILE}),
        (_set_bytes("record.json", b""), {Code.RECORD_NOT_JSON}),
        (_set_bytes("record.json", b"[]"), {Code.RECORD_SCHEMA}),
        (_set_bytes("record.json", b"{}"), {Code.RECORD_FORMAT_UNKNOWN}),
    ],
)
def test_each_change_to_the_files_is_found_for_what_it_is(good, change, codes):
    """A file changed, emptied, swapped, removed, added or linked away gives its own finding, and no other."""
    change(good)
    assert found_codes(good) == codes


def test_a_file_two_folders_deep_is_unsafe(good):
    """Only the seal's folder may lie beside the record."""
    (good / "seal" / "deep").mkdir(parents=True)
    (good / "seal" / "deep" / "record.tsr").write_bytes(b"x")
    assert found_codes(good) == {Code.UNSAFE_NAME}


@pytest.mark.parametrize("field", ["sha256", "blake3", "bytes"])
def test_each_of_size_and_digests_counts(tmp_path, field):
    """A record that is wrong in one of size, SHA-256 and BLAKE3 alone is found wrong."""
    one = artifact("text.txt", b"text")
    wrong = replace_artifact(one, **{field: 3 if field == "bytes" else "0" * 64}, warc_target_uri=None)
    folder = write_capture(
        tmp_path / "c", {"text.txt": b"text"}, artifacts=(wrong, artifact("capture.wacz", wacz()))
    )
    (folder / "screenshot-viewport.png").unlink()
    expected = Code.ARTIFACT_SIZE_MISMATCH if field == "bytes" else Code.ARTIFACT_DIGEST_MISMATCH
    assert found_codes(folder) == {expected}


def test_an_exhibit_that_is_not_the_one_in_the_package_is_found(tmp_path):
    """A screenshot of another capture, with the record made to fit it, contradicts the package."""
    folder = write_capture(tmp_path / "c", {"screenshot-viewport.png": PNG + b"other"})
    assert found_codes(folder) == {Code.ARTIFACT_NOT_IN_PACKAGE}


def test_a_capture_without_a_package_is_never_passed(tmp_path):
    """Without a package there is no wire to look at, and the verdict stays open."""
    folder = write_capture(
        tmp_path / "c", artifacts=(replace_artifact(artifact("text.txt", b"t"), warc_target_uri=None),)
    )
    for name in ("capture.wacz", "screenshot-viewport.png"):
        (folder / name).unlink()
    (folder / "text.txt").write_bytes(b"t")
    assert found_codes(folder) == {Code.PACKAGE_MISSING}


def test_a_record_found_under_another_capture_or_incident_is_found(good):
    """Where a record was found must agree with what it says."""
    right = Expectation(records.CAPTURE_ID, records.INCIDENT_ID)
    assert found_codes(good, expected=right) == set()
    other = Expectation("20261124t081203z-0000000000", "KZ-2026-Q1-9.99")
    assert found_codes(good, expected=other) == {Code.RECORD_OF_OTHER_CAPTURE, Code.RECORD_OF_OTHER_INCIDENT}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda v: v.update(extra=1), Code.RECORD_SCHEMA),
        (lambda v: v.pop("access"), Code.RECORD_SCHEMA),
        (lambda v: v.pop("not_before"), Code.RECORD_SCHEMA),
        (lambda v: v["seed"].update(note=1), Code.RECORD_SCHEMA),
        (lambda v: v["outcome"].update(confidence_percent=101), Code.RECORD_SCHEMA),
        (lambda v: v.update(started_at="2026-11-24 08:12:03.100Z"), Code.RECORD_SCHEMA),
        (lambda v: v.update(started_at="2026-13-24T08:12:03.100Z"), Code.RECORD_CONTRADICTION),
        (lambda v: v.update(started_at="2026-02-30T08:12:03.100Z"), Code.RECORD_CONTRADICTION),
        (lambda v: v.update(capture_id="../../etc"), Code.RECORD_SCHEMA),
        (lambda v: v.update(incident_ids=[]), Code.RECORD_SCHEMA),
        (lambda v: v.update(incident_ids=["A\n"]), Code.RECORD_SCHEMA),
        (lambda v: v.update(incident_ids=["A", "A"]), Code.RECORD_CONTRADICTION),
        (lambda v: v.update(format="evidence-record/2"), Code.RECORD_FORMAT_UNKNOWN),
        (lambda v: v.update(format=["evidence-record/1"]), Code.RECORD_FORMAT_UNKNOWN),
        (lambda v: v["artifacts"][0].update(path="../x"), Code.RECORD_SCHEMA),
        (lambda v: v["artifacts"][0].update(path="record.json"), Code.RECORD_CONTRADICTION),
        (lambda v: v["artifacts"].append(v["artifacts"][0]), Code.RECORD_CONTRADICTION),
        (lambda v: v["artifacts"][1].update(path="Capture.WACZ"), Code.RECORD_CONTRADICTION),
        (lambda v: v["artifacts"][0].update(sha256="A" * 64), Code.RECORD_SCHEMA),
        (lambda v: v["artifacts"][0].update(bytes=2**53), Code.RECORD_NUMBER_NOT_EXACT),
        (lambda v: v["artifacts"][0].update(bytes=1.0), Code.RECORD_NUMBER_NOT_EXACT),
        (lambda v: v["artifacts"][0].update(bytes=-1), Code.RECORD_SCHEMA),
        (lambda v: v["artifacts"][0].update(bytes=True), Code.RECORD_SCHEMA),
        (lambda v: v["completeness"].update(state="interrupted"), Code.RECORD_CONTRADICTION),
        (lambda v: v["clock"].update(checked=False), Code.RECORD_CONTRADICTION),
    ],
)
def test_each_flaw_of_a_record_is_found_for_what_it_is(good, change, code):
    """A record with a flaw gives the finding of that flaw and is not used for anything else."""
    rewrite_record(good, change)
    assert found_codes(good) == {code}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"clock": Clock(checked=False, reason="offline")}, Code.CLOCK_NOT_CHECKED),
        ({"collector": Collector()}, Code.COLLECTOR_NOT_NAMED),
        ({"finished_at": "2026-11-24T08:11:00.000Z"}, Code.TIMES_OUT_OF_ORDER),
        (
            {
                "completeness": Completeness(
                    state="incomplete", missing=(MissingPart(part="pdf", reason="the printer crashed"),)
                )
            },
            Code.CAPTURE_INCOMPLETE,
        ),
    ],
)
def test_what_a_record_says_against_itself_is_passed_on(tmp_path, changes, code):
    """A reader is told of an unchecked clock, an unnamed collector, odd times and missing parts."""
    assert found_codes(write_capture(tmp_path / "c", **changes)) == {code}


class _Failing:
    """A set whose file *bad* breaks off while it is read, as a disk or a network does."""

    def __init__(self, folder, bad):
        self._inner, self._bad = FolderSet(folder), bad

    def entries(self):
        return self._inner.entries()

    def open(self, name):
        file = self._inner.open(name)
        if name == self._bad:
            file.close()

            class Broken(io.FileIO):
                def read(self, size=-1):
                    raise OSError(5, "Input/output error")

            return Broken(os.devnull)
        return file


@pytest.mark.parametrize("name", ["text.txt", "capture.wacz", "record.json"])
def test_what_cannot_be_read_is_not_called_wrong(good, name):
    """A disk error leaves the verdict open: it says nothing about the evidence."""
    report = verify_capture(_Failing(good, name), "x")
    assert Code.ARTIFACT_UNREADABLE in report.codes()
    assert report.overall is Verdict.INDETERMINATE
    assert any(name in line or "package" in line for line in report.unchecked)


def test_a_seal_that_cannot_be_read_is_not_a_seal_that_is_missing(good):
    """A disk error in the seal leaves identity and time open instead of failing them."""
    (good / "seal").mkdir()
    (good / "seal" / "record.json.sig").write_bytes(b"signature")
    report = verify_capture(
        _Failing(good, "seal/record.json.sig"), "x", seal_check=lambda *_: pytest.fail("was asked")
    )
    assert report.codes() == {Code.ARTIFACT_UNREADABLE, Code.SEAL_NOT_CHECKED}


def test_a_set_that_cannot_be_listed_is_not_called_wrong(tmp_path):
    """A folder that is not there gives no verdict on evidence."""
    report = verify_capture(FolderSet(tmp_path / "nowhere"), "x")
    assert report.codes() == {Code.SET_UNREADABLE}
    assert report.overall is Verdict.INDETERMINATE


def test_a_record_larger_than_any_of_ours_is_not_read(good, monkeypatch):
    """The size of a record is looked at before its bytes."""
    os.truncate(good / "record.json", 16 * 1024 * 1024 + 1)
    assert found_codes(good) == {Code.RECORD_TOO_LARGE}


@pytest.mark.parametrize("name", ["../record.json", "seal/../../x", "/etc/passwd", ".", ""])
def test_a_folder_set_opens_nothing_outside(good, name):
    """No name leads out of the folder, also where something lies."""
    (good / "seal").mkdir()
    for outside in ("record.json", "x"):
        (good.parent / outside).write_bytes(b"outside")
    with pytest.raises(OSError):
        FolderSet(good).open(name)


def test_a_link_put_in_place_after_the_listing_is_not_followed(good, tmp_path):
    """Between listing and opening a file may be swapped for a link, a pipe or a folder; none is opened."""
    shutil.copy(good / "text.txt", tmp_path / "copy")
    (good / "text.txt").unlink()
    (good / "text.txt").symlink_to(tmp_path / "copy")
    os.mkfifo(good / "pipe")
    for name in ("text.txt", "pipe"):
        with pytest.raises(OSError):
            FolderSet(good).open(name)


def test_a_folder_with_too_many_files_is_given_up(tmp_path, monkeypatch):
    """A listing has an end."""
    monkeypatch.setattr("manifests.evidence_set.MAX_ENTRIES", 10)
    for number in range(12):
        (tmp_path / str(number)).touch()
    with pytest.raises(SetUnreadable, match="E327"):
        list(FolderSet(tmp_path).entries())


def test_a_set_that_lists_a_name_twice_is_found():
    """Two objects of one name would let each reader see another."""

    class Twice:
        def entries(self):
            return iter([Entry("a.txt", 1), Entry("a.txt", 1)])

    assert Code.UNSAFE_NAME in verify_capture(Twice(), "x").codes()


def test_the_report_says_in_text_and_json_what_was_found(good):
    """Both forms carry verdicts, codes and numbers, and no control character of an opponent's."""
    (good / "evil\x1b[2J.txt").write_bytes(b"x")
    report = verify_capture(FolderSet(good), "x\x1b[31m")
    value = report_object(report)
    assert value["overall"] == "failed"
    assert value["verdicts"]["integrity"] == "failed"
    assert {item["code"] for item in value["findings"]} >= {"unsafe-name", "unsealed"}
    text = "\n".join(report_lines(report))
    assert "FAILED" in text
    assert "E326" in text
    assert "\x1b" not in text + json.dumps(value, ensure_ascii=False)


def test_every_finding_has_a_code_and_number_of_its_own():
    """Codes and numbers lead to one place each and have their public form."""
    assert len({code.code for code in Code}) == len({code.number for code in Code}) == len(list(Code))
    for code in Code:
        assert code.code == code.name.lower().replace("_", "-") or code.code.isascii()
        assert code.number[0] == "E"
        assert code.number[1:].isdigit()
        assert code.text[0].islower() or code.text.startswith(("JSON", "WARC"))
        assert not code.text.endswith(".")


def test_findings_of_one_kind_have_an_end(tmp_path):
    """A hostile set with a thousand faults gives fifty findings and a count."""
    folder = write_capture(tmp_path / "c")
    for number in range(80):
        (folder / f"x{number}").touch()
    report = verify_capture(FolderSet(folder), "x")
    assert sum(item.code is Code.UNLISTED_FILE for item in report.findings.items) == 50
    assert report.findings.left_out[Code.UNLISTED_FILE] == 30


def test_encode_writes_nothing_that_decode_refuses():
    """The maker of a record learns of a flaw, not its reader."""
    with pytest.raises(MalformedRecord, match="E311"):
        encode(records.record(started_at="yesterday"))


def test_every_finding_stands_in_the_manual():
    """docs/verification.md lists each code with its number, verdict, weight and words, and no other."""
    manual = (Path(__file__).parents[3] / "docs" / "verification.md").read_text()
    rows = {line for line in manual.splitlines() if line.startswith("| `")}
    assert rows == {
        f"| `{code.code}` | {code.number} | {code.area.value} | {code.severity.value} | {code.text} |"
        for code in Code
    }
