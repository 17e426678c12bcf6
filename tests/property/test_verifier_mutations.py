"""Whatever is done to the bytes of a capture, the verifier says so and does not break."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.evidence_set import FolderSet
from manifests.findings import Code
from manifests.report import Verdict, report_object
from manifests.verifier import verify_capture
from manifests.wacz_check import check_wacz
from tests.unit.manifests.captures import (
    DATAPACKAGE,
    INDEX,
    PAGES,
    WARC,
    listed,
    parts,
    split_warc,
    wacz,
    write_capture,
    zipped,
)

NAMES = ["capture.wacz", "record.json", "screenshot-viewport.png", "text.txt"]


@pytest.fixture(scope="module")
def good():
    with tempfile.TemporaryDirectory() as folder:
        yield write_capture(Path(folder) / "good")


@st.composite
def mutations(draw):
    """What to do at which place: the place is a share of the file, so that it fits every file."""
    kind = draw(st.sampled_from(["flip", "insert", "delete", "truncate", "double", "swap"]))
    return kind, draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255)), draw(st.integers(1, 64))


def mutate(data, mutation):
    kind, share, value, size = mutation
    at = int(share * len(data))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :] if data else b"x"
    if kind == "insert":
        return data[:at] + bytes([value]) * size + data[at:]
    if kind == "delete":
        return data[:at] + data[at + size :]
    if kind == "truncate":
        return data[:at]
    if kind == "double":
        return data[: at + size] + data[at:]
    return data[:at] + data[at : at + size][::-1] + data[at + size :]


@settings(max_examples=400)
@given(st.sampled_from(NAMES), mutations())
def test_no_changed_byte_anywhere_is_taken_for_the_evidence(good, name, mutation):
    """Flip, insert, delete, truncate, repeat or reverse bytes of any file: none passes."""
    original = (good / name).read_bytes()
    changed = mutate(original, mutation)
    if changed == original:
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(good, copy)
        (copy / name).write_bytes(changed)
        report = verify_capture(FolderSet(copy), "copy")
    # A record changed into another sound one can only be told by its seal, which is not here, and one of
    # a later format only by a later program.
    doubtful = report.record is not None or report.codes() == {Code.RECORD_FORMAT_UNKNOWN}
    assert report.overall is Verdict.FAILED or (name == "record.json" and doubtful)
    assert report.overall is not Verdict.PASSED
    json.dumps(report_object(report), allow_nan=False).encode()


@settings(max_examples=400)
@given(mutations())
def test_a_package_with_one_changed_byte_contradicts_itself(mutation):
    """Even where record and seal were made for it, no byte of a package can change unnoticed."""
    changed = mutate(wacz(), mutation)
    if changed != wacz():
        assert _package_codes(changed)


@settings(max_examples=300)
@given(st.sampled_from([WARC, INDEX, DATAPACKAGE, PAGES]), mutations())
def test_a_member_changed_and_listed_again_breaks_nothing(name, mutation):
    """With every outer digest made right, hostile bytes reach the inner readers, and none raises."""
    changed = mutate(parts()[name], mutation)
    members = parts() | {name: changed}
    package = zipped(members if name == DATAPACKAGE else listed(members))
    codes = _package_codes(package)
    # Compressed bytes can differ and say the same; what they say may not.
    if name == WARC and not codes:
        assert split_warc(changed) == split_warc(parts()[WARC])


@settings(max_examples=200)
@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"PK\x01\x02"]))
def test_arbitrary_bytes_are_no_package(data, start):
    """Noise, also with a signature before it, is found and raises nothing."""
    assert _package_codes(start + data)


@settings(max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_are_no_record(data, as_json):
    """Noise and noise within JSON in the place of the record is found."""
    text = (
        json.dumps({"format": "evidence-record/1", "x": data.decode("latin-1")}).encode() if as_json else data
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "record.json").write_bytes(text)
        report = verify_capture(FolderSet(Path(folder)), "x")
    assert report.overall is Verdict.FAILED
    assert report.record is None


def _package_codes(data: bytes) -> set[Code]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return {item.code for item in check_wacz(file, len(data)).findings.items}
