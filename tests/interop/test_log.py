"""A custody log in a real store, and its proofs checked by hand with tools of every Linux."""

from __future__ import annotations

import base64
import multiprocessing
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from archiver.custody import StoreLog
from manifests.batch_tree import make_batch
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import CustodyLog
from manifests.keys import FileSigner
from manifests.tlog_proof import verify_log_proof
from storage.folder import FolderStore
from storage.memory import MemoryStore

ORIGIN = "example.org/evidence"
KEY = Ed25519PrivateKey.generate()
SIGNER = FileSigner(KEY)


def shell(script, folder):
    done = subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout.decode().strip()


def event(details=""):
    return encode_event(new_event("captured", "tester", details=details))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_log_lives_in_a_store(tmp_path, kind):
    """Through the adaptor a log appends, proves and is audited in a store of this project."""
    store = FolderStore(tmp_path / "store") if kind == "folder" else MemoryStore()
    log = CustodyLog(StoreLog(store), ORIGIN, SIGNER)
    entries = [event(str(number)) for number in range(300)]
    log.append(entries[:7])
    appended = log.append(entries[7:])
    assert appended.first_index == 7
    reopened = CustodyLog(StoreLog(store), ORIGIN, SIGNER)
    head = reopened.head()
    assert [entry for _, entry in reopened.entries(head)] == entries
    assert verify_log_proof(entries[299], reopened.prove(299, head), [log.key]).findings == ()
    assert reopened.audit(head) == []
    assert reopened.find(entries[7:]) == 7


def _append_some(folder, seed, number):
    signer = FileSigner(Ed25519PrivateKey.from_private_bytes(seed))
    log = CustodyLog(StoreLog(FolderStore(folder)), ORIGIN, signer)
    for count in range(6):
        log.append([event(f"{number} {count} {each}") for each in range(1 + count)])


def test_processes_share_a_log(tmp_path):
    """Processes that append to one folder at the same time lose nothing and harm nothing."""
    seed = KEY.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_append_some, args=(tmp_path / "s", seed, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    log = CustodyLog(StoreLog(FolderStore(tmp_path / "s")), ORIGIN, SIGNER)
    head = log.head()
    said = sorted(each.details for _, each in log.events(head))
    expected = [
        f"{number} {count} {each}" for number in range(3) for count in range(6) for each in range(1 + count)
    ]
    assert said == sorted(expected)
    assert log.audit(head) == []


@pytest.fixture
def exported(tmp_path):
    log = CustodyLog(StoreLog(MemoryStore()), ORIGIN, SIGNER)
    entries = [event(str(number)) for number in range(11)]
    log.append(entries)
    (tmp_path / "checkpoint").write_bytes(log.head().note)
    (tmp_path / "entry.json").write_bytes(entries[6])
    (tmp_path / "proof").write_bytes(log.prove(6, log.head()))
    public = Ed25519PublicKey.from_public_bytes(SIGNER.public_key)
    (tmp_path / "log.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return tmp_path


VERIFY_CHECKPOINT = """
head -n 3 checkpoint > body
tail -n 1 checkpoint | cut -d ' ' -f 3 | base64 -d | tail -c 64 > signature
openssl pkeyutl -verify -pubin -inkey log.pub -rawin -in body -sigfile signature
"""


def test_openssl_verifies_a_checkpoint(exported):
    """With body and signature cut out, ``openssl pkeyutl`` accepts a checkpoint, and refuses another size."""
    assert shell(VERIFY_CHECKPOINT, exported)[0] == 0
    text = (exported / "checkpoint").read_text()
    (exported / "checkpoint").write_text(text.replace("\n11\n", "\n12\n"))
    assert shell(VERIFY_CHECKPOINT, exported)[0] != 0


FOLLOW_PROOF = r"""
hash=$( (printf '\0'; cat entry.json) | sha256sum | cut -c 1-64)
set -- right left left right
for sibling in $(sed -n '3,/^$/p' proof); do
  other=$(printf %s "$sibling" | base64 -d | xxd -p -c 64)
  [ "$1" = left ] && pair="$other$hash" || pair="$hash$other"
  hash=$( (printf '\1'; printf %s "$pair" | xxd -r -p) | sha256sum | cut -c 1-64)
  shift
done
echo "$hash"
"""


def test_sha256sum_follows_a_proof(exported):
    """Entry 6 of 11 leads, sibling by sibling, to the root that the checkpoint states."""
    root = base64.b64decode((exported / "checkpoint").read_text().split("\n")[2])
    assert shell(FOLLOW_PROOF, exported) == (0, root.hex())
    (exported / "entry.json").write_bytes(event("other"))
    assert shell(FOLLOW_PROOF, exported)[1] != root.hex()


FOLLOW_BATCH = r"""
hash=$( (printf '\0'; cat record.json.sig) | sha256sum | cut -c 1-64)
tail -n +2 batch-path.txt | { while read -r side sibling; do
  [ "$side" = left ] && pair="$sibling$hash" || pair="$hash$sibling"
  hash=$( (printf '\1'; echo "$pair" | xxd -r -p) | sha256sum | cut -c 1-64)
done
[ "$(sed -n 2p batch-root.txt)" = "root $hash" ]; }
"""


@pytest.mark.parametrize(("size", "number"), [(1, 0), (2, 1), (5, 4), (13, 6)])
def test_sha256sum_follows_a_batch_path(tmp_path, size, number):
    """The commands of the format's description lead from its own signature to the root, from no other."""
    signatures = [b"signature %d" % each for each in range(size)]
    batch = make_batch(signatures)
    (tmp_path / "record.json.sig").write_bytes(signatures[number])
    (tmp_path / "batch-path.txt").write_bytes(batch.path_files[number])
    (tmp_path / "batch-root.txt").write_bytes(batch.root_file)
    assert shell(FOLLOW_BATCH, tmp_path)[0] == 0
    (tmp_path / "record.json.sig").write_bytes(b"another")
    assert shell(FOLLOW_BATCH, tmp_path)[0] != 0
