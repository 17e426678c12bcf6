"""Confidential captures: what the store may know, who can open them, and what of them can be checked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from archiver.cli.main import run
from archiver.confidential import (
    HIDDEN_URL,
    Locked,
    PlaintextDiffers,
    capture_key,
    check_recipients,
    conceal,
    is_confidential,
    read_identities,
    reveal,
)
from archiver.errors import ExitCode, UsageError
from archiver.preservation.auditing import Extent, Progress, audit_store
from archiver.preservation.deletion import delete_capture
from archiver.storing import begin_store, store_capture
from manifests.codec import decode, encode
from manifests.evidence_set import FolderSet
from manifests.record import Outcome, Seed, Target
from manifests.record_process import Collector
from manifests.report import Verdict, report_object
from manifests.verifier import verify_capture
from storage.errors import StoreUnavailable
from storage.folder import FolderStore
from tests.unit.archiver.preservation.lab import FILES, _listed, capture_id, damage
from tests.unit.manifests.records import record

SECRETS = (b"https://hidden.example/", b"Geheim", b"Aigerim", b"<p>evidence</p>", b"because of the ministry")
ALICE, BOB, EVE = (pyrage.x25519.Identity.generate() for _ in range(3))


def inner_record():
    return record(
        capture_id=capture_id(1),
        incident_ids=("KZ-1",),
        seed=Seed(url="https://hidden.example/"),
        target=Target(url="https://hidden.example/", title="Geheim"),
        outcome=Outcome(kind="blocked", reason="because of the ministry", confidence_percent=90),
        collector=Collector(operator="Aigerim"),
        artifacts=tuple(_listed(name, data) for name, data in FILES.items()),
    )


def concealed(folder: Path, *recipients: str):
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    outer = conceal(folder, inner_record(), recipients)
    (folder / "record.json").write_bytes(encode(outer))
    return outer


@pytest.fixture
def capture(tmp_path) -> Path:
    concealed(tmp_path / "capture", str(ALICE.to_public()), str(BOB.to_public()))
    return tmp_path / "capture"


@pytest.fixture
def store(tmp_path, capture) -> FolderStore:
    store = FolderStore(tmp_path / "archive")
    begin_store(store)
    data = (capture / "record.json").read_bytes()
    store_capture(store, capture, decode(data), data)
    return store


def opened(capture: Path, identity, target: Path):
    outer = decode((capture / "record.json").read_bytes())
    key = capture_key(outer.capture_id, iter([(capture / "key.age").read_bytes()]), [identity])
    target.mkdir()
    return reveal(outer, lambda name: (capture / name).open("rb"), key, target)


def identity_file(folder: Path, identity) -> str:
    path = folder / "identity.txt"
    path.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
    return str(path)


def test_what_is_stored_tells_neither_address_nor_people_nor_content(store):
    """No object of the store, links and receipts included, holds a word of the page or of who captured it."""
    for info in store.list():
        held = store.open(info.key).read()
        assert not [secret for secret in SECRETS if secret in held], info.key
    outer = decode(store.open(f"captures/{capture_id(1)}/record.json").read())
    assert (outer.seed.url, outer.target.title, is_confidential(outer)) == (HIDDEN_URL, None, True)
    assert outer.incident_ids == ("KZ-1",)


@pytest.mark.parametrize("identity", [ALICE, BOB])
def test_every_recipient_opens_all_of_it(capture, tmp_path, identity):
    """What comes out is what went in, byte by byte, with its record, and passes as a capture of its own."""
    inner = opened(capture, identity, tmp_path / "plain")
    assert inner == inner_record()
    assert {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()} == FILES | {
        "record.json": encode(inner_record())
    }


def test_nobody_else_opens_it(capture, tmp_path):
    """Another key opens nothing, and the error holds no key."""
    with pytest.raises(Locked, match="E183") as caught:
        opened(capture, EVE, tmp_path / "plain")
    assert str(EVE) not in str(caught.value)


def test_the_ciphertext_is_verified_without_any_key(capture):
    """Digests, sizes and completeness of the set are checked as of any capture; one changed byte fails."""

    def verdict():
        report = verify_capture(FolderSet(capture), "it", seal_check=None)
        return report.overall, {one["code"] for one in report_object(report)["findings"]}

    sound, notes = verdict()
    assert sound is not Verdict.FAILED
    assert "package-missing" not in notes
    damage(FolderStore(capture.parent), "capture/002.age", 300)
    assert verdict()[0] is Verdict.FAILED


def test_an_audit_needs_no_key_and_a_deletion_takes_the_keys_too(store):
    """Ciphertexts and keys are objects like others."""
    store.put(f"keys/{capture_id(1)}/{'0' * 64}.age", b"not what its name says")
    progress = Progress()
    audit_store(store, (), Extent(1000, "s"), progress, mend=False)
    assert [one.key for one in progress.findings] == [f"keys/{capture_id(1)}/{'0' * 64}.age"]
    delete_capture(store, capture_id(1), "a mistake", "me", lambda _: None)
    assert not [info.key for info in store.list() if info.key.startswith(("captures/", "keys/"))]


@pytest.mark.parametrize("name", ["000.age", "001.age", "002.age"])
@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_changed_ciphertext_opens_to_nothing(capture, tmp_path, name, at):
    """Damage to any file at any place is an error, not other plaintext."""
    data = bytearray((capture / name).read_bytes())
    data[at] ^= 1
    (capture / name).write_bytes(data)
    with pytest.raises(PlaintextDiffers, match="E184"):
        opened(capture, ALICE, tmp_path / "plain")


def test_swapped_ciphertexts_are_caught_by_the_inner_record(capture, tmp_path):
    """Each opens, and neither is what the inner record lists at its place."""
    one, two = capture / "001.age", capture / "002.age"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(PlaintextDiffers, match="sha256"):
        opened(capture, ALICE, tmp_path / "plain")


@pytest.mark.parametrize(
    "text",
    ["", "age1", "age1" + "q" * 58, "ssh-ed25519 AAAA", "ssh-dss AAAA", str(EVE), "0" * 5_000, "é\0"],
    ids=lambda _: "text",  # the key is another in each worker
)
def test_what_is_no_recipient_is_refused_before_a_page_is_loaded(text, tmp_path, monkeypatch, capfd):
    """Each is told by its place alone: a secret key put there by mistake is not repeated."""
    with pytest.raises(UsageError, match=r"recipient 2: .*E180") as caught:
        check_recipients([str(ALICE.to_public()), text])
    assert not text or text not in str(caught.value)


def test_too_many_recipients_are_refused():
    """A list that no organisation means is not worked through."""
    with pytest.raises(UsageError, match="E180"):
        check_recipients([str(ALICE.to_public())] * 51)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# only words\n",
        b"AGE-SECRET-KEY-1",
        b"\xff\xfe",
        b"-----BEGIN %s KEY-----\n" % b"OPENSSH PRIVATE",
        b"a\n" * 9,
    ],
)
def test_what_is_no_identity_is_refused(tmp_path, data):
    """Each is told by its path, never by its content."""
    (tmp_path / "identity").write_bytes(data)
    with pytest.raises(UsageError, match="E182"):
        read_identities(tmp_path / "identity")
    with pytest.raises(UsageError, match="E182"):
        read_identities(tmp_path / "none")


def test_an_ssh_key_is_a_recipient_too(tmp_path):
    """The key that a lawyer has already: made by ssh-keygen, named by its public line."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")]
    subprocess.run(words, check=True)
    concealed(tmp_path / "capture", (tmp_path / "id.pub").read_text().strip())
    (identity,) = read_identities(tmp_path / "id")
    assert opened(tmp_path / "capture", identity, tmp_path / "plain") == inner_record()


# --- as a person types it ---


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("ARCHIVER_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def test_a_capture_is_decrypted_and_then_verified(store, home, tmp_path, capfd):
    """`decrypt` writes a folder that `verify` knows, a stranger's key nothing, and nothing is overwritten."""
    words = ["decrypt", capture_id(1), "--output", "plain", "--identity"]
    assert run([*words, identity_file(tmp_path, EVE)]) == ExitCode.USAGE
    assert not (tmp_path / "plain").exists()
    assert run([*words, identity_file(tmp_path, ALICE)]) == ExitCode.DONE
    assert (tmp_path / "plain" / capture_id(1) / "dom.html").read_bytes() == FILES["dom.html"]
    assert run(["verify", f"plain/{capture_id(1)}"]) != ExitCode.EVIDENCE_FAILED
    assert run([*words, identity_file(tmp_path, BOB)]) == ExitCode.FAILED
    assert "E187" in capfd.readouterr().err


def test_a_new_recipient_is_let_in_and_the_capture_stays_as_it_is(store, home, tmp_path, monkeypatch, capfd):
    """Rotation: Bob leaves, Eve comes. Alice lets her in, no capture changes, and Alice may lose her key."""
    before = {info.key: store.open(info.key).read() for info in store.list("captures/")}
    monkeypatch.setenv("ARCHIVER_RECIPIENTS", str(EVE.to_public()))
    assert run(["rekey", capture_id(1), "--identity", identity_file(tmp_path, EVE)]) == ExitCode.USAGE
    assert run(["rekey", capture_id(1), "--identity", identity_file(tmp_path, ALICE)]) == ExitCode.DONE
    assert {info.key: store.open(info.key).read() for info in store.list("captures/")} == before
    words = ["decrypt", capture_id(1), "--output", "plain", "--identity", identity_file(tmp_path, EVE)]
    assert run(words) == ExitCode.DONE
    assert (tmp_path / "plain" / capture_id(1) / "dom.html").read_bytes() == FILES["dom.html"]
    assert run(["audit", "--full"]) == ExitCode.DONE


def test_rekeying_to_nobody_is_refused(store, home, tmp_path, capfd):
    """Without recipients in the settings nothing is written."""
    assert run(["rekey", capture_id(1), "--identity", identity_file(tmp_path, ALICE)]) == ExitCode.USAGE
    assert "E185" in capfd.readouterr().err
    assert not (store.root / "keys").exists()


def test_a_store_that_fails_is_not_taken_for_damage(capture, tmp_path):
    """What cannot be read is an error of the store, and no verdict on the evidence."""
    outer = decode((capture / "record.json").read_bytes())
    key = capture_key(outer.capture_id, iter([(capture / "key.age").read_bytes()]), [ALICE])

    class Failing(io.BytesIO):
        """Reads a little, then fails."""

        def read(self, size=-1):
            if self.tell():
                raise StoreUnavailable("the store is out of reach", code="E639")
            return super().read(min(size, 100) if size > 0 else 100)

    (tmp_path / "plain").mkdir()
    with pytest.raises(StoreUnavailable, match="E639"):
        reveal(outer, lambda name: Failing((capture / name).read_bytes()), key, tmp_path / "plain")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A program that conceals a file of 200 MB."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "big.bin").write_bytes(b"")
    with (folder / "big.bin").open("wb") as file:
        file.truncate(200_000_000)
    return folder


def test_memory_stays_flat_in_the_size_of_a_file(large):
    """A file of 200 MB is encrypted and decrypted with memory for pieces of it."""
    program = (
        "import resource, sys, pyrage\n"
        "from pathlib import Path\n"
        "from archiver.confidential import conceal, reveal, capture_key\n"
        "from manifests.record import Artifact\n"
        "from tests.unit.manifests.records import record\n"
        "from manifests.digests import digest_stream\n"
        "folder = Path(sys.argv[1])\n"
        "d = digest_stream((folder / 'big.bin').open('rb'))\n"
        "one = Artifact(role='dom', path='big.bin', media_type='text/html', bytes=d.bytes, sha256=d.sha256,"
        " blake3=d.blake3)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "me = pyrage.x25519.Identity.generate()\n"
        "outer = conceal(folder, record(artifacts=(one,)), [str(me.to_public())])\n"
        "key = capture_key('x', iter([(folder / 'key.age').read_bytes()]), [me])\n"
        "(folder / 'plain').mkdir()\n"
        "reveal(outer, lambda name: (folder / name).open('rb'), key, folder / 'plain')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(large)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert int(done.stdout) < 32 * 1024
