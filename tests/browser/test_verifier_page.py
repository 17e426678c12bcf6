"""verify.html, in a real browser from the disk: it passes what is whole and names what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from archiver.bundle.verifier_page import verifier_page
from archiver.capture.browser import find_browser
from manifests.custody_log import CustodyLog
from manifests.digests import digest_bytes
from manifests.edition import Edition, Withheld, encode_edition
from manifests.seal import SIGNATURE, stamp_files
from manifests.trust import Trust, TrustedAuthority, parse_trust
from tests.unit.manifests.records import CAPTURE_ID
from tests.vectors.make import (
    GOOD,
    OTHER_ROOT,
    PNG,
    RECORD,
    SEAL,
    STRANGER,
    TRUST,
    flipped,
    log_with,
    loose,
    record_of,
    sealed,
    stamp,
    whole,
    without,
)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("verifier-page")]

CORPUS = Path(__file__).parents[1] / "vectors" / "corpus"
SHOT = "screenshot-viewport.png"


@pytest.fixture(scope="module")
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find_browser(None)), args=["--no-sandbox"])
        context = browser.new_context()
        opened = context.new_page()
        opened.asked = []
        opened.on("request", lambda request: opened.asked.append(request.url))
        yield opened
        browser.close()


def told(page, folder: Path, files: dict[str, bytes], trust: Trust = TRUST, name: str = CAPTURE_ID):
    """Put a bundle down, open its page, choose the folder; returns the verdict and the state of each step."""
    root = folder / "bundle"
    for path, data in files.items():
        file = root / "data" / "captures" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (root / "verify.html").write_text(verifier_page(trust), encoding="utf-8")
    page.goto((root / "verify.html").as_uri())
    page.set_input_files("#folder", str(root))
    page.locator("#verdict.passed, #verdict.failed, #verdict.indeterminate").wait_for()
    lines = page.locator("#results li").all_text_contents()
    return page.locator("#verdict").get_attribute("class"), lines


def failed_steps(lines: list[str]) -> list[int]:
    return [int(line.split(": ", 1)[1][0]) for line in lines if line.startswith("FAILED")]


@pytest.mark.parametrize(
    "name", ["passed--plain", "passed--batch", "passed--two-tokens", "passed--no-accuracy", "passed--renewed"]
)
def test_a_good_bundle_passes(page, tmp_path, name):
    """Every step passes on captures that the verifier of this project passes."""
    folder = CORPUS / name
    capture = folder / "capture"
    files = {
        str(path.relative_to(capture)): path.read_bytes() for path in capture.rglob("*") if path.is_file()
    }
    trust = parse_trust((folder / "trust.toml").read_bytes())
    capture_id = json.loads((folder / "expect.json").read_text())["capture_id"]
    verdict, lines = told(page, tmp_path, files, trust, capture_id)
    assert (verdict, len(lines)) == ("passed", 5), lines


def test_the_page_asks_nothing_of_any_network(page, tmp_path):
    """It is opened from the disk, and nothing but itself is ever asked for; its policy allows no more."""
    page.asked.clear()
    told(page, tmp_path, GOOD)
    assert {url.split("/bundle/")[-1] for url in page.asked} == {"verify.html"}
    refused = page.evaluate("fetch('https://example.org/').then(() => 'sent', error => error.name)")
    assert refused == "TypeError"


LOG = log_with([SEAL["record.tlog-entry.json"]])
STRANGERS_LOG = log_with([SEAL["record.tlog-entry.json"]], STRANGER)


def proof_of(index: int, log: CustodyLog) -> bytes:
    return log.prove(index, log.head())


ANOTHER = loose() | {"text.txt": b"Olds"}
OTHER_RECORD = record_of(ANOTHER)
TAMPERED = {
    "a byte of the screenshot": (GOOD | {SHOT: flipped(PNG)}, [2]),
    "a file longer by a byte": (GOOD | {"text.txt": b"News!"}, [2]),
    "a file taken away": (without(GOOD, SHOT), [2]),
    "two files swapped": (GOOD | {SHOT: GOOD["text.txt"], "text.txt": PNG}, [2]),
    "a file put in": (GOOD | {"more.png": PNG}, [2]),
    "a record with other digests": (ANOTHER | {n: d for n, d in GOOD.items() if n.startswith("seal/")}
                                    | {"record.json": OTHER_RECORD}, [4, 5]),
    "a record of another capture": (GOOD | {"record.json": record_of(
        loose(), capture_id="20261124t081203z-0000000000")}, [1]),
    "a signature over another record": (
        GOOD | {f"seal/{SIGNATURE}": sealed(OTHER_RECORD)[SIGNATURE]}, [3, 4, 5]),
    "a token over another signature": (
        GOOD | {f"seal/{n}": d for n, d in stamp_files("record", stamp(b"other")).items()}, [3, 5]),
    "a token with a bit flipped in its signature": (
        GOOD | {"seal/record.tsa.tsr": flipped(SEAL["record.tsa.tsr"], len(SEAL["record.tsa.tsr"]) - 9)},
        [3, 5]),
    "an entry that was edited": (
        GOOD | {"seal/record.tlog-entry.json": SEAL["record.tlog-entry.json"].replace(b"sealed", b"signed")},
        [5]),
    "a proof for another entry": (
        GOOD | {"seal/record.tlog-proof": proof_of(0, LOG)}, [5]),
    "a checkpoint signed by another key": (
        GOOD | {"seal/record.tlog-proof": proof_of(1, STRANGERS_LOG)}, [5]),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_fails_at_the_step_that_sees_it(page, tmp_path, name):
    """The page says failed, and at which of its steps, each for itself."""
    files, steps = TAMPERED[name]
    verdict, lines = told(page, tmp_path, files)
    assert verdict == "failed", lines
    assert failed_steps(lines) == steps, lines


def test_a_token_of_another_root_fails(page, tmp_path):
    """A root of the same name as the pinned one is not the pinned one."""
    other = replace(
        TRUST, authorities=(TrustedAuthority("tsa", "http://127.0.0.1/", OTHER_ROOT.certificate),)
    )
    verdict, lines = told(page, tmp_path, GOOD, other)
    assert (verdict, failed_steps(lines)) == ("failed", [3])


def test_keys_that_nobody_named_prove_nothing(page, tmp_path):
    """With no keys, authorities and logs the page says what it did not check, and never passes."""
    verdict, lines = told(page, tmp_path, GOOD, Trust())
    assert verdict == "indeterminate"
    assert [line.split(":")[0] for line in lines] == ["PASSED"] * 2 + ["NOT CHECKED"] * 3
    stranger = record_of(loose())
    verdict, lines = told(page, tmp_path / "2", whole(loose(), stranger, sealed(stranger, by=STRANGER)))
    assert verdict == "indeterminate"


def test_an_unsealed_capture_is_not_passed(page, tmp_path):
    """Digests alone bind files to a record that anybody could have made."""
    files = {name: data for name, data in GOOD.items() if not name.startswith("seal/")}
    verdict, _ = told(page, tmp_path, files)
    assert verdict == "indeterminate"


def test_an_edition_is_indeterminate_and_names_what_it_leaves_out(page, tmp_path):
    """A withheld file is told with its digest; without the list the same bundle fails."""
    digest = digest_bytes(GOOD["capture.wacz"]).sha256
    edition = Edition(
        audience="public",
        capture_id=CAPTURE_ID,
        record_sha256=digest_bytes(RECORD).sha256,
        withheld=(Withheld(path="capture.wacz", sha256=digest, reason="holds cookies"),),
    )
    files = without(GOOD, "capture.wacz") | {"edition.json": encode_edition(edition)}
    verdict, lines = told(page, tmp_path / "1", files)
    assert verdict == "indeterminate"
    assert digest in lines[1]
    verdict, _ = told(page, tmp_path / "2", without(files, "edition.json"))
    assert verdict == "failed"


def test_the_page_tells_what_it_did_not_check_and_whom_it_relies_on(page, tmp_path):
    """A reader sees the limits and the fingerprints without having to ask."""
    told(page, tmp_path, GOOD)
    shown = page.locator("body").inner_text()
    for word in ("BLAKE3", "revoked", "structure of the package", "no capture was left out", "fingerprints"):
        assert word in shown
    assert TRUST.logs[0].verifier_key in shown
