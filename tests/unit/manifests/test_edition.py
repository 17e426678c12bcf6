from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from manifests.canonical import canonical_bytes
from manifests.digests import digest_bytes
from manifests.edition import (
    EDITION,
    Derivative,
    Edition,
    EditionMalformed,
    Withheld,
    encode_edition,
    parse_edition,
)
from manifests.evidence_set import FolderSet
from manifests.findings import Code
from manifests.record_process import Commitment
from manifests.report import Verdict
from manifests.seal_check import seal_check
from manifests.verifier import verify_capture
from tests.unit.manifests.records import CAPTURE_ID
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW
from tests.vectors.make import GOOD, RECORD, TRUST, flipped, wacz_of, without

SHOT = "screenshot-viewport.png"
COPY = "public-capture.wacz"
LISTED = {one["path"]: one["sha256"] for one in json.loads(RECORD)["artifacts"]}


def copied(data: bytes = GOOD["capture.wacz"], **facts) -> Derivative:
    made = digest_bytes(data)
    values = {
        "id": f"{CAPTURE_ID}.{made.sha256[:12]}",
        "path": COPY,
        "media_type": "application/wacz+zip",
        "bytes": made.bytes,
        "sha256": made.sha256,
        "blake3": made.blake3,
        "source_path": "capture.wacz",
        "source_sha256": LISTED["capture.wacz"],
        "rules": ("credentials are taken out",),
    }
    return Derivative(**values | facts)


def edition(**facts) -> Edition:
    values = {
        "audience": "public",
        "capture_id": CAPTURE_ID,
        "record_sha256": hashlib.sha256(RECORD).hexdigest(),
        "withheld": (Withheld(path="capture.wacz", sha256=LISTED["capture.wacz"], reason="holds cookies"),),
        "derivatives": (copied(),),
    }
    return Edition(**values | facts)


def judged(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return verify_capture(FolderSet(folder), "x", seal_check=seal_check(TRUST, NOW + DAY))


def of_edition(made: Edition | bytes, *away: str, **more: bytes) -> dict[str, bytes]:
    data = made if isinstance(made, bytes) else encode_edition(made)
    copies = {COPY: GOOD["capture.wacz"]}
    return without(GOOD, "capture.wacz", *away) | copies | {EDITION: data} | more


def test_an_edition_is_indeterminate_and_every_withheld_file_is_told(tmp_path):
    """What was not seen is a finding of its own with its digest: it never passes, and does not fail."""
    report = judged(tmp_path / "public", of_edition(edition()))
    assert report.overall is Verdict.INDETERMINATE
    assert report.codes() - judged(tmp_path / "good", GOOD).codes() == {
        Code.ARTIFACT_WITHHELD,
        Code.DERIVATIVE_NOT_SEALED,
    }
    (told,) = [one for one in report.findings.items if one.code is Code.ARTIFACT_WITHHELD]
    assert LISTED["capture.wacz"] in told.expected
    assert told.got == "holds cookies"


def test_the_same_files_without_the_list_fail(tmp_path):
    """Nothing but the list tells a withheld file from one that an attacker took away."""
    report = judged(tmp_path, without(of_edition(edition()), EDITION, COPY))
    assert report.overall is Verdict.FAILED
    assert Code.ARTIFACT_MISSING in report.codes()


def test_a_file_that_is_handed_in_later_is_checked_like_any_other(tmp_path):
    """Put back under its name the original makes the capture pass, list and copy being there or not."""
    whole = of_edition(edition()) | {"capture.wacz": GOOD["capture.wacz"]}
    assert judged(tmp_path / "good", whole).overall is Verdict.PASSED
    report = judged(tmp_path / "bad", whole | {"capture.wacz": flipped(GOOD["capture.wacz"])})
    assert report.overall is Verdict.FAILED
    assert Code.ARTIFACT_DIGEST_MISMATCH in report.codes()


def test_a_list_excuses_no_file_that_it_does_not_name(tmp_path):
    """One file taken away besides is missing."""
    report = judged(tmp_path, of_edition(edition(), SHOT))
    assert report.overall is Verdict.FAILED
    assert Code.ARTIFACT_MISSING in report.codes()


@pytest.mark.parametrize("name", ["record.json", "seal/record.json.sig"])
def test_neither_record_nor_seal_can_be_withheld(tmp_path, name):
    """They are in no record, so that no list fits which names them."""
    files = of_edition(edition(), name)
    assert judged(tmp_path, files).overall is Verdict.FAILED


WRONG = {
    "of another capture": {"capture_id": "20261124t081203z-0000000000"},
    "of another record": {"record_sha256": "0" * 64},
    "withholds what the record does not list": {
        "withheld": (Withheld(path="other.png", sha256="0" * 64, reason="x"),)
    },
    "withholds under another digest": {
        "withheld": (Withheld(path="capture.wacz", sha256="0" * 64, reason="x"),)
    },
    "withholds twice": {
        "withheld": (Withheld(path="capture.wacz", sha256=LISTED["capture.wacz"], reason="x"),) * 2
    },
    "names a fact that is not fixed": {"fields": (Commitment(name="collector.operator", digest="0" * 64),)},
    "copies from nowhere": {"derivatives": (copied(source_path="other.wacz"),)},
    "copies from another version": {"derivatives": (copied(source_sha256="0" * 64),)},
    "a copy takes the place of a file": {"derivatives": (copied(path=SHOT),)},
    "a copy takes the place of the list": {"derivatives": (copied(path=EDITION),)},
    "two copies of one name": {"derivatives": (copied(), copied())},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_list_that_does_not_fit_the_record_excuses_nothing(tmp_path, name):
    """It is a failure by itself, and the files it withholds count as missing."""
    report = judged(tmp_path, of_edition(edition(**WRONG[name])))
    assert report.overall is Verdict.FAILED
    assert {Code.EDITION_WRONG, Code.ARTIFACT_MISSING} <= report.codes()


MALFORMED = {
    "no JSON": b"{",
    "spaces": encode_edition(edition()).replace(b":", b": ", 1),
    "a field too many": canonical_bytes(msgspec.to_builtins(edition()) | {"more": 1}),
    "a field too few": canonical_bytes(
        {name: value for name, value in msgspec.to_builtins(edition()).items() if name != "remarks"}
    ),
    "a key twice": encode_edition(edition()).replace(b'{"audience"', b'{"audience":"court","audience"', 1),
    "another format": encode_edition(edition()).replace(b"evidence-edition/1", b"evidence-edition/2"),
    "a path": encode_edition(edition()).replace(b'"path":"public', b'"path":"../public'),
    "no rules": encode_edition(edition(derivatives=(msgspec.structs.replace(copied(), rules=()),))),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_list_of_another_form_excuses_nothing(tmp_path, name):
    """What could be read in two ways is not read at all."""
    with pytest.raises(EditionMalformed):
        parse_edition(MALFORMED[name])
    report = judged(tmp_path, of_edition(MALFORMED[name]))
    assert report.overall is Verdict.FAILED
    assert {Code.EDITION_WRONG, Code.ARTIFACT_MISSING} <= report.codes()


@pytest.mark.parametrize(
    "copy", [flipped(GOOD["capture.wacz"]), GOOD["capture.wacz"] + b"x", b""], ids=["bit", "longer", "empty"]
)
def test_a_copy_that_was_changed_fails(tmp_path, copy):
    """A redacted copy is held to the digest in the list, which is all that fixes it."""
    report = judged(tmp_path, of_edition(edition(), **{COPY: copy}))
    assert report.overall is Verdict.FAILED
    assert Code.DERIVATIVE_WRONG in report.codes()


def test_a_copy_that_is_no_sound_package_fails(tmp_path):
    """A viewer and an expert must see the same content in a redacted package too."""
    bad = wacz_of(lambda parts: parts | {"extra": b"x"}, relist=False)
    report = judged(tmp_path, of_edition(edition(derivatives=(copied(bad),)), **{COPY: bad}))
    assert report.overall is Verdict.FAILED
    assert Code.WACZ_MEMBER_UNLISTED in report.codes()


def test_a_file_that_neither_record_nor_list_names_is_found(tmp_path):
    """An edition opens no place to put things."""
    report = judged(tmp_path, of_edition(edition(), **{"public-more.png": b"x"}))
    assert Code.UNLISTED_FILE in report.codes()
