"""A capture behind a login: what the login gives is used, and none of its secrets is stored in clear."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys

import pyrage
import pytest

from examples.sites import hosts
from examples.sites.platforms import COOKIE_SECRET, FORM_SECRET, HEADER_SECRET, STORAGE_SECRET
from manifests.commitments import Opening, open_commitment
from manifests.record_process import Commitment
from tests.browser.conftest import ARCHIVER, Bench
from tests.planted import opened, written

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("sessions")]

DIARY = f"https://{hosts.SOCIAL}/private/diary"
PASSPHRASE = "a passphrase of the test"
PLANTED = {
    "cookie": COOKIE_SECRET,
    "local storage": STORAGE_SECRET,
    "header": HEADER_SECRET,
    "form": FORM_SECRET,
}
FILL = """
import asyncio, json, sys
from archiver import sessions
from archiver.config import load_settings
from archiver.logging_in import log_in_with

async def fill(page):
    await page.fill("input[name=email]", "collector@example.org")
    await page.fill("input[name=pass]", "hunter2-and-more")
    await page.click("form button")
    await page.wait_for_url("**/private/diary")
    await page.wait_for_function("document.body.dataset.done")

options = json.loads(sys.argv[1])
settings = load_settings(None, {}, options)
state = asyncio.run(log_in_with(settings, sys.argv[2], fill))
sessions.save(sessions.Session(name="diary", url=sys.argv[2], made_at="2026-01-01T00:00:00Z", state=state))
"""


@pytest.fixture(scope="module")
def logged_in(tmp_path_factory, sites) -> tuple[Bench, pyrage.x25519.Identity]:
    """A bench with the session that a login in a real window left."""
    identity = pyrage.x25519.Identity.generate()
    folder = tmp_path_factory.mktemp("sessions")
    bench = Bench(
        folder,
        sites,
        {
            "ARCHIVER_SESSION_PASSPHRASE": PASSPHRASE,
            "ARCHIVER_SESSION_RECIPIENTS": str(identity.to_public()),
        },
    )
    options = {
        "resolve": list(sites.resolve),
        "ca_files": [str(sites.ca)],
        "allow_private_network": True,
    }
    command = [sys.executable, "-c", FILL, json.dumps(options), f"https://{hosts.SOCIAL}/login/"]
    if not os.environ.get("DISPLAY"):
        command = ["xvfb-run", "-a", *command]
    done = subprocess.run(
        command, env=bench.environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return bench, identity


@pytest.fixture(scope="module")
def diary(logged_in):
    bench, identity = logged_in
    (one,) = bench.capture(DIARY, options=("--session", "diary"))
    return bench, identity, one


def test_the_session_is_encrypted_at_rest(logged_in):
    """The kept file holds no secret, only its owner may read it, and another passphrase opens nothing."""
    bench, _ = logged_in
    path = bench.folder / "state" / "archiver" / "sessions" / "diary.age"
    data = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert data.startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert not [name for name, value in PLANTED.items() if value.encode() in data]
    with pytest.raises(pyrage.DecryptError):
        pyrage.passphrase.decrypt(data, "another")
    assert STORAGE_SECRET.encode() in pyrage.passphrase.decrypt(data, PASSPHRASE)


def test_the_page_behind_the_login_is_captured(diary):
    """Text and picture are those that only a visitor who is logged in sees."""
    bench, _, one = diary
    assert "Запись только для своих" in bench.file(one, "text.txt").read_text()
    record = bench.record(one)
    assert record["access"]["kind"] == "login"
    assert record["environment"]["login_session"]
    assert "diary" not in record["environment"]["login_session"]


@pytest.mark.parametrize("name", PLANTED)
def test_no_secret_is_in_any_byte_that_is_stored_in_clear(diary, name):
    """Store, catalogue, queue and spool hold it in no file, packed or written in whatever way."""
    bench, _, _ = diary
    forms = written(PLANTED[name])
    found = []
    for path in bench.folder.rglob("*"):
        if path.is_file() and path.suffix != ".age":
            found += [path.name for data in opened(path.read_bytes()) if any(form in data for form in forms)]
    assert found == []


def test_the_planted_secrets_are_in_the_sealed_original(diary):
    """The search above looks for the right thing: the original holds them all, for the recipient alone."""
    bench, identity, one = diary
    folder = bench.file(one, "record.json").parent
    plain = {path.name: pyrage.decrypt(path.read_bytes(), [identity]) for path in folder.glob("sealed-*.age")}
    warc = gzip.decompress(plain["sealed-original.warc.gz.age"])
    missing = [
        name
        for name, value in PLANTED.items()
        if not any(form in data for data in opened(warc) for form in written(value))
    ]
    assert missing == []
    assert plain["sealed-transcript.pcapng.age"][:4] == b"\x0a\x0d\x0d\x0a"
    other = pyrage.x25519.Identity.generate()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt((folder / "sealed-transcript.pcapng.age").read_bytes(), [other])


def test_what_was_taken_out_is_listed_by_salted_digests_that_open(diary):
    """Each removal is told with its place, and the sealed openings fit the digests that stand in clear."""
    bench, identity, one = diary
    told = json.loads(bench.file(one, "redactions.json").read_bytes())["removed"]
    sealed = bench.file(one, "sealed-openings.json.age").read_bytes()
    openings = json.loads(pyrage.decrypt(sealed, [identity]))["openings"]
    for entry, opening in zip(told, openings, strict=True):
        commitment = Commitment(name=entry["where"], digest=entry["digest"])
        assert open_commitment(commitment, Opening(**opening)) == opening["value"]
    assert any(entry["where"].startswith("cookie in the request head") for entry in told)
    assert any("redacted" in line for line in bench.record(one)["alterations"])


def test_the_redacted_package_is_valid_and_verifies(diary):
    """The format's own validator takes it, and our verifier finds no failure."""
    bench, _, one = diary
    command = [sys.executable, "-m", "wacz.main", "validate", "-f", str(bench.file(one, "capture.wacz"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    told = bench.run("verify", one["capture_id"], code=None)
    assert '"severity": "failure"' not in json.dumps(told)


def test_without_a_recipient_a_session_is_refused(logged_in, tmp_path):
    """Nothing is loaded, and the error says what to set."""
    bench, _ = logged_in
    environment = bench.environment() | {
        "ARCHIVER_SESSION_RECIPIENTS": "",
        "ARCHIVER_SPOOL": str(tmp_path / "s"),
    }
    command = [
        str(ARCHIVER),
        "capture",
        DIARY,
        "--incident",
        "T-1",
        "--session",
        "diary",
        "--store",
        str(tmp_path / "store"),
    ]
    done = subprocess.run(
        [*command, *bench.sites.options()], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "E149" in done.stderr
    assert "session_recipients" in done.stderr
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("2*"))


def test_a_session_that_is_not_kept_is_refused(logged_in):
    """The error names those that are."""
    bench, _ = logged_in
    command = bench.command(
        "capture", DIARY, "--incident", "T-1", "--session", "nobody", *bench.sites.options()
    )
    done = subprocess.run(command, env=bench.environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, "E144" in done.stderr, "diary" in done.stderr) == (2, True, True)


def test_sessions_are_listed_and_removed(logged_in, tmp_path):
    """A listing opens nothing; what was removed is gone."""
    bench, _ = logged_in
    kept = tmp_path / "state" / "archiver" / "sessions"
    kept.mkdir(parents=True)
    shutil.copy(bench.folder / "state" / "archiver" / "sessions" / "diary.age", kept)
    other = Bench(tmp_path, bench.sites)
    assert [one["name"] for one in other.tool("session", "list")["sessions"]] == ["diary"]
    other.tool("session", "remove", "diary")
    assert other.tool("session", "list")["sessions"] == []
