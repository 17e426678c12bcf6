"""Confidential captures by the real program: what is there is not captured again, and nothing is told."""

from __future__ import annotations

from dataclasses import replace

import pyrage
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("sealing")]

PAGE = "https://hundred.example/"


@pytest.fixture
def confidential(bench):
    """A command line of an organisation that encrypts."""
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    return replace(bench, extra={"ARCHIVER_RECIPIENTS": recipient})


def test_a_second_run_captures_no_confidential_page_twice(confidential, tmp_path):
    """By hand, from a register, and from nothing but the store: each time the page is known again."""
    (one,) = confidential.capture(PAGE)
    words = ["capture", PAGE, "--incident", "T-1", *confidential.sites.options()]
    register = tmp_path / "register.csv"
    register.write_text(f"incident_id,url\nT-1,{PAGE}\n")
    for again in (words, ["batch", str(register), *confidential.sites.options()]):
        told = confidential.run(*again)
        assert told["captures"] == []
        assert [one["url"] for one in told["skipped"]] == [PAGE]
    confidential.run("reindex")
    assert confidential.run(*words)["captures"] == []
    stored = b"".join(path.read_bytes() for path in confidential.store.rglob("*") if path.is_file())
    assert b"hundred.example" not in stored
    assert one["url"].startswith("urn:archiver:confidential:")
    assert [each["capture_id"] for each in confidential.run("list")["captures"]] == [one["capture_id"]]


def test_another_installation_does_not_know_it_and_loses_nothing(confidential, tmp_path):
    """Without the key of the installation a page is captured once more; with its copy it is known."""
    confidential.capture(PAGE)
    key = tmp_path / "config/archiver/seed-key"
    assert (len(key.read_bytes()), key.stat().st_mode & 0o777) == (32, 0o600)
    kept = key.read_bytes()
    key.unlink()
    (other,) = confidential.capture(PAGE)
    assert other["url"].startswith("urn:archiver:confidential:")
    key.write_bytes(kept)
    assert confidential.capture(PAGE) == []
    key.write_bytes(b"short")
    confidential.run("capture", PAGE, "--incident", "T-1", *confidential.sites.options(), code=1)
