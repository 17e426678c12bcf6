from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from http.client import HTTPConnection

import pytest
import uvicorn

from archiver.bundle.serving import bundle_app
from tests.unit.archiver.sealing.lab import capture_id


@pytest.fixture
def bundle(sealed, tmp_path):
    sealed.call("export", capture_id(0), capture_id(1), "--output", "out")
    return tmp_path / "out"


def run(script: str, folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False)


def is_valid_bag(bundle) -> bool:
    words = [sys.executable, "-m", "bagit", "--validate", str(bundle)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def commands(bundle) -> list[str]:
    """The blocks of commands that VERIFY.md gives, without the one that is our own program."""
    blocks = re.findall(r"```sh\n(.*?)```", (bundle / "VERIFY.md").read_text(), re.DOTALL)
    return [block for block in blocks if "archiver verify" not in block]


def test_the_commands_of_verify_md_confirm_the_bundle(bundle):
    """A stranger runs what VERIFY.md says, with tools of the operating system alone, and all of it holds."""
    first, second = commands(bundle)
    assert run(first, bundle).returncode == 0
    done = run(second, bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all checks passed") == 2


@pytest.mark.parametrize(
    "name", ["screenshot-viewport.png", "record.json", "seal/record.json.sig", "seal/record.tlog-proof"]
)
def test_the_commands_of_verify_md_find_a_changed_byte(bundle, name):
    """Whichever file of a capture is changed, the manifest and the capture's own script both say so."""
    path = bundle / "data" / "captures" / capture_id(0) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    first, second = commands(bundle)
    assert run(first, bundle).returncode != 0
    assert run(second, bundle).returncode != 0


def test_a_bundle_is_a_valid_bag(bundle):
    """An archive ingests it: the reference implementation of BagIt finds it valid, and a changed one not."""
    assert is_valid_bag(bundle)
    (bundle / "index.html").write_text("other")
    assert not is_valid_bag(bundle)


def test_a_bundle_that_grows_stays_a_valid_bag(sealed, bundle):
    """A second export adds a capture; manifests and pages tell of what is there."""
    sealed.call("export", capture_id(2), "--output", "out")
    assert is_valid_bag(bundle)
    assert sealed.call("verify", "out")["overall"] == "passed"


def test_a_bundle_as_a_zip_is_verified_as_it_is(sealed, tmp_path):
    """The file that is mailed is the file that is verified; nothing is left beside it."""
    sealed.call("export", capture_id(0), "--output", "case.zip")
    assert sealed.call("verify", "case.zip")["overall"] == "passed"
    assert [path.name for path in tmp_path.glob("case*")] == ["case.zip"]
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"case"}
        assert archive.testzip() is None


def test_a_zip_is_never_written_over(sealed, tmp_path):
    """What was handed over stays as it was."""
    (tmp_path / "case.zip").write_bytes(b"mine")
    sealed.call("export", capture_id(0), "--output", "case.zip", code=2)
    assert (tmp_path / "case.zip").read_bytes() == b"mine"


def test_a_bundle_that_was_broken_off_can_be_made_again(sealed, bundle):
    """Payload without manifests is completed by the same command."""
    for name in (
        "bagit.txt",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
        "bag-info.txt",
        "index.html",
        "VERIFY.md",
        "verify.html",
    ):
        (bundle / name).unlink()
    sealed.call("export", capture_id(0), capture_id(1), "--output", "out")
    assert sealed.call("verify", "out")["overall"] == "passed"


def test_the_bundle_stands_where_its_captures_are_gone_from_the_store(sealed, bundle, tmp_path):
    """It needs nothing of the store it came from, and names what it relies on."""
    shutil.rmtree(tmp_path / "archive")
    trust = str(bundle / "data" / "trust.toml")
    assert sealed.call("verify", "out", "--trust", trust)["overall"] == "passed"


def test_the_start_page_names_digests_and_leads_outside_nowhere(bundle):
    """It works from a USB stick: every link is a file of the bundle."""
    page = (bundle / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert links
    for link in links:
        assert (bundle / link).is_file(), link
    assert "Content-Security-Policy" in page
    assert "verify.html" in links
    assert "verify.html" in (bundle / "tagmanifest-sha256.txt").read_text()


@pytest.fixture
def ask(bundle):
    """Ask the server of the bundle; it is the real one, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(bundle_app(bundle), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()

        def answer(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path, headers=headers)
            got = connection.getresponse()
            return got.status, {name.lower(): value for name, value in got.getheaders()}, got.read()

        yield answer
        server.should_exit = True
        thread.join(30)


def test_captured_files_are_served_in_a_sandbox(ask):
    """A captured page that is opened by itself runs no script in the origin of the bundle."""
    for name in ("screenshot-viewport.png", "record.json"):
        _, headers, _ = ask(f"/data/captures/{capture_id(0)}/{name}")
        assert headers["content-security-policy"].startswith("sandbox")
        assert headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in ask("/index.html")[1]


def test_a_package_is_served_by_ranges(ask, bundle):
    """A replay reads a package bit by bit, however large it is."""
    path = f"/data/captures/{capture_id(0)}/capture.wacz"
    status, _, body = ask(path, Range="bytes=3-9")
    assert (status, body) == (206, (bundle / path[1:]).read_bytes()[3:10])


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/data/../../secret", "/data/link"])
def test_nothing_outside_the_bundle_is_served(ask, bundle, path):
    """Neither dots nor a link lead out of the folder."""
    (bundle.parent / "secret").write_text("secret")
    (bundle / "data" / "link").symlink_to(bundle.parent / "secret")
    status, _, body = ask(path)
    assert status == 404
    assert b"secret" not in body


def test_another_host_name_is_refused(ask):
    """A page whose name was pointed at this machine gets nothing (DNS rebinding)."""
    assert ask("/index.html", Host="evil.example")[0] == 400
    assert ask("/index.html")[0] == 200
