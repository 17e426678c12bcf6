"""The custody log: what it holds cannot be changed unseen, and several writers cannot harm it."""

from __future__ import annotations

import base64
import contextlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from log_stores import Died, Flaky, LostReply, MemoryLogStore

from manifests.canonical import parse_canonical
from manifests.checkpoint import LogKey, open_checkpoint, open_note, parse_verifier_key, sign_checkpoint
from manifests.custody_event import EVENT_TYPES, EventInvalid, encode_event, new_event, parse_event
from manifests.custody_log import MAX_BATCH_ENTRIES, CustodyLog, LogUnusable
from manifests.findings import Code
from manifests.keys import FileSigner
from manifests.log_reader import LogReader, compare_checkpoints, history_key, intent_key
from manifests.merkle import leaf_hash, leaves_reader, tree_root
from manifests.proof import ProofError
from manifests.tiles import bundle_path, join_entries, split_entries, tile_path, width_at
from manifests.tlog_proof import parse_proof, render_proof, verify_log_proof

ORIGIN = "example.org/evidence"
SIGNER = FileSigner(Ed25519PrivateKey.generate())
OTHER = FileSigner(Ed25519PrivateKey.generate())
KEY = LogKey(ORIGIN, SIGNER.public_key)


def event(number=0, **facts):
    return encode_event(new_event("captured", "tester", capture_id=f"c{number:05d}", **facts))


EVENTS = [event(number) for number in range(700)]


def log_of(*batches, store=None):
    log = CustodyLog(store or MemoryLogStore(), ORIGIN, SIGNER)
    at = 0
    for count in batches:
        log.append(EVENTS[at : at + count])
        at += count
    return log


def code_of(call, *args):
    with pytest.raises(ProofError) as error:
        call(*args)
    return error.value.finding.code


def everything(log):
    head = log.head()
    return [entry for _, entry in log.entries(head)]


@pytest.mark.parametrize("batches", [(1,), (255, 1), (256,), (257,), (1, 2, 3, 250, 300), (100,) * 7])
def test_log_holds_what_was_appended(batches):
    """Whatever the batches, the log has every entry in order under the root of RFC 6962."""
    log = log_of(*batches)
    size = sum(batches)
    assert everything(log) == EVENTS[:size]
    assert log.head().root == tree_root(leaves_reader([leaf_hash(each) for each in EVENTS]), size)
    assert log.audit(log.head()) == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_every_entry_has_its_proof(size):
    """Each entry's proof file shows that entry, and no other, under the head."""
    log = log_of(size)
    head = log.head()
    for index in {0, size // 2, size - 1}:
        proof = log.prove(index, head)
        found = verify_log_proof(EVENTS[index], proof, [KEY])
        assert (found.findings, found.index, found.checkpoint) == ((), index, head)
        assert found.event == parse_event(EVENTS[index])
        (wrong,) = verify_log_proof(EVENTS[699], proof, [KEY]).findings
        assert wrong.code is Code.LOG_PROOF_WRONG


def test_tile_paths_are_those_of_the_specification():
    """The paths and widths are the examples of c2sp.org/tlog-tiles."""
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(1, 0, 17) == "tile/1/000.p/17"
    assert bundle_path(1000, 8) == "tile/entries/x001/000.p/8"
    assert [
        width_at(70_000, level, index) for level, index in ((0, 272), (0, 273), (1, 0), (1, 1), (2, 0))
    ] == [
        256,
        112,
        256,
        17,
        1,
    ]
    assert (width_at(256, 1, 0), width_at(256, 0, 1), width_at(255, 1, 0)) == (1, 0, 0)


def test_partial_tiles_may_go_once_full():
    """A proof at an old size is still made when only the full tiles are left."""
    log = log_of(100, 200)
    old = open_checkpoint(log.store.get(history_key(100)), KEY)
    del log.store.objects[tile_path(0, 0, 100)]
    del log.store.objects[bundle_path(0, 100)]
    assert verify_log_proof(EVENTS[7], log.prove(7, old), [KEY]).findings == ()
    assert len(list(log.entries(old))) == 100


def test_events_of_a_capture_come_in_order():
    """The events of one capture are found among all others, in the order of the log."""
    log = log_of(300)
    mine = [encode_event(new_event(kind, "tester", capture_id="c00007")) for kind in ("sealed", "exported")]
    log.append(mine)
    found = [(index, each.type) for index, each in log.events(log.head(), "c00007")]
    assert found == [(7, "captured"), (300, "sealed"), (301, "exported")]
    assert [index for index, _ in log.entries(log.head(), 299)] == [299, 300, 301]


def changed(data):
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "path",
    [tile_path(0, 0), tile_path(0, 2, 88), tile_path(1, 0, 2), bundle_path(1), bundle_path(2, 88)],
)
def test_changed_or_missing_tiles_are_found(path):
    """A changed, shortened or removed tile or bundle is found when the entries are read."""
    for damage in (changed, lambda data: data[:-1], lambda data: b"", None):
        log = log_of(600)
        if damage is None:
            del log.store.objects[path]
        else:
            log.store.objects[path] = damage(log.store.objects[path])
        assert code_of(everything, log) is Code.LOG_DAMAGED


def test_replaced_entry_is_found_even_with_its_tile():
    """An entry rewritten together with its level 0 tile still does not fit the signed root."""
    log = log_of(600)
    bundle = split_entries(log.store.objects[bundle_path(1)])
    bundle[5] = event(999)
    log.store.objects[bundle_path(1)] = join_entries(bundle)
    log.store.objects[tile_path(0, 1)] = b"".join(leaf_hash(entry) for entry in bundle)
    assert code_of(everything, log) is Code.LOG_DAMAGED
    assert code_of(log.prove, 300, log.head()) is Code.LOG_DAMAGED


def test_append_to_a_damaged_log_stops():
    """A writer does not sign on top of tiles that do not fit the checkpoint."""
    log = log_of(5)
    log.store.objects[tile_path(0, 0, 5)] = changed(log.store.objects[tile_path(0, 0, 5)])
    assert code_of(log.append, [event()]) is Code.LOG_DAMAGED


def test_append_does_not_sign_over_a_rewritten_past():
    """An old entry replaced together with its tile is found before anything is signed on top of it."""
    log = log_of(5)
    entries = [*EVENTS[:4], event(999)]
    log.store.objects[bundle_path(0, 5)] = join_entries(entries)
    log.store.objects[tile_path(0, 0, 5)] = b"".join(leaf_hash(entry) for entry in entries)
    assert code_of(log.append, [event()]) is Code.LOG_DAMAGED
    assert log.head().size == 5


def test_tile_put_there_beforehand_stops_the_append():
    """Other bytes at a path that the append must write are an alarm, and nothing is signed over them."""
    log = log_of(5)
    log.store.objects[tile_path(0, 0, 6)] = bytes(6 * 32)
    assert code_of(log.append, [event()]) is Code.LOG_DAMAGED
    assert log.head().size == 5


def test_rollback_is_found_by_a_writer_that_saw_more():
    """A checkpoint put back to an earlier one is refused by whoever saw the later."""
    log = log_of(5, 5)
    log.store.objects["checkpoint"] = log.store.objects[history_key(5)]
    for key in [intent_key(5), history_key(10)]:
        del log.store.objects[key]
    assert code_of(log.append, [event()]) is Code.LOG_ROLLED_BACK


def test_checkpoint_gone_back_by_itself_is_brought_forward():
    """With its intent there, an old checkpoint is only a writer's unfinished work: it is finished again."""
    log = log_of(5, 5)
    before = dict(log.store.objects)
    log.store.objects["checkpoint"] = log.store.objects[history_key(5)]
    fresh = CustodyLog(log.store, ORIGIN, SIGNER)
    assert fresh.append([EVENTS[20]]).first_index == 10
    assert all(log.store.objects[key] == data for key, data in before.items() if key != "checkpoint")


def test_fork_is_found_by_whoever_saw_the_other_branch():
    """Two logs of one key that share a beginning: each checkpoint refutes the other."""
    one, two = log_of(5, 5), log_of(5)
    two.append(EVENTS[50:57])
    reader = LogReader(two.store, KEY)
    assert code_of(reader.check_extends, one.head(), two.head()) is Code.LOG_FORKED
    short = CustodyLog(MemoryLogStore(), ORIGIN, SIGNER)
    short.append(EVENTS[90:95])
    assert compare_checkpoints(one.head(), short.head()) is None
    short.append(EVENTS[95:100])
    assert compare_checkpoints(one.head(), short.head()).code is Code.LOG_FORKED
    assert code_of(reader.check_extends, two.head(), one.head()) is Code.LOG_ROLLED_BACK
    two.store.objects[history_key(10)] = short.head().note
    assert [each.code for each in two.audit(two.head())] == [Code.LOG_FORKED]


@pytest.mark.parametrize(
    "intent", [b"", b"\xff", join_entries([b"junk"]), join_entries([EVENTS[0], b"{}"]), b"\0\0" * 5000]
)
def test_intent_that_is_none_is_refused(intent):
    """A helper signs nothing over an intent that holds anything but custody events."""
    log = log_of(3)
    log.store.objects[intent_key(3)] = intent
    assert code_of(log.append, [event()]) in {Code.LOG_DAMAGED, Code.LOG_ENTRY_MALFORMED}
    assert log.head().size == 3


@pytest.mark.parametrize("batch", [[], [EVENTS[0]] * (MAX_BATCH_ENTRIES + 1)])
def test_batches_out_of_bounds_are_refused(batch):
    """An empty or too large batch is refused before anything is written."""
    log = log_of()
    with pytest.raises(LogUnusable):
        log.append(batch)
    assert log.store.objects == {}


def test_junk_is_not_appended():
    """Only custody events become entries."""
    assert code_of(log_of().append, [b"junk"]) is Code.LOG_ENTRY_MALFORMED


def test_store_without_conditions_needs_a_sole_writer():
    """Where a store cannot tell writers apart, a log opens only for a declared sole writer."""
    store = MemoryLogStore()
    store.conditional_writes = False
    with pytest.raises(LogUnusable, match="conditional writes"):
        CustodyLog(store, ORIGIN, SIGNER)
    assert CustodyLog(store, ORIGIN, SIGNER, sole_writer=True).append([EVENTS[0]]).first_index == 0


@pytest.mark.parametrize("seed", range(12))
def test_writers_that_die_anywhere_leave_a_whole_log(seed):
    """Writers that interleave, die at any step and lose answers: no tile changes, no acknowledgement is lost.

    Each writer tries each of its batches until it is told that it went in; a dead one is replaced by another,
    which first asks the log whether the batch went in already.
    """
    rng = random.Random(seed)
    store, acknowledged, written = MemoryLogStore(), {}, {}
    depth = 0

    def watch():
        for key, data in store.objects.items():
            assert key == "checkpoint" or written.setdefault(key, data) == data

    def others():
        nonlocal depth
        if depth < 2 and rng.random() < 0.05:
            depth += 1
            run_batch(EVENTS[rng.randrange(700) :][: rng.randint(1, 9)], retries=2)
            depth -= 1

    def run_batch(entries, retries=20):
        entries = [encode_event(new_event("captured", "w", details=str(n))) for n in range(len(entries))]
        for _ in range(retries):
            view = Flaky(store, rng, die=0.04, lose=0.04, between=others)
            try:
                log = CustodyLog(view, ORIGIN, SIGNER)
                index = log.find(entries)
                acknowledged[tuple(entries)] = log.append(entries).first_index if index is None else index
            except (Died, LostReply):
                watch()
                continue
            return

    for _ in range(12):
        run_batch(EVENTS[: rng.choice([1, 1, 2, 40, 300])])
        watch()
    final = CustodyLog(store, ORIGIN, SIGNER)
    final.append([EVENTS[0]])
    entries = everything(final)
    assert len(set(entries)) == len(entries)
    assert all(tuple(entries[at : at + len(batch)]) == batch for batch, at in acknowledged.items())
    assert len(acknowledged) >= 12
    assert final.audit(final.head()) == []


@pytest.mark.parametrize("steps", range(1, 24))
def test_next_writer_completes_what_a_dead_one_left(steps):
    """Killed after any number of steps: the next writer's append succeeds, and the log is whole."""
    store = log_of(255).store

    class Mortal(Flaky):
        left = steps

        def __getattr__(self, name):
            self.left -= 1
            if self.left < 0:
                raise Died
            return super().__getattr__(name)

    with contextlib.suppress(Died):
        CustodyLog(Mortal(store, random.Random(0)), ORIGIN, SIGNER).append(EVENTS[300:310])
    log = CustodyLog(store, ORIGIN, SIGNER)
    at = log.append([EVENTS[400]]).first_index
    assert at in {255, 265}
    assert everything(log)[-1] == EVENTS[400]
    assert log.find(EVENTS[300:310]) == (255 if at == 265 else None)


# From the documentation of Go's note package.
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgK"
    "vqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
HEAD = sign_checkpoint(ORIGIN, 7, bytes(32), SIGNER)


def noted(body):
    """A note with any text, signed by the log's key under the log's name."""
    line = base64.b64encode(KEY.key_id + SIGNER.sign(body.encode())).decode()
    return f"{body}\n— {ORIGIN} {line}\n".encode()


def test_a_note_of_another_implementation_opens():
    """The example of Go's note package verifies with its verifier key, and not with a byte changed."""
    key = parse_verifier_key(NOTE_KEY)
    assert open_note(NOTE.encode(), key).startswith("If you think")
    assert code_of(open_note, NOTE.replace("answer", "Answer").encode(), key) is Code.LOG_CHECKPOINT_SIGNATURE


def test_checkpoint_reads_back_and_is_deterministic():
    """A checkpoint opens to what was signed, every signer of the size writes the same bytes."""
    assert open_checkpoint(HEAD.note, KEY) == HEAD
    assert sign_checkpoint(ORIGIN, 7, bytes(32), SIGNER) == HEAD
    assert parse_verifier_key(KEY.verifier_key) == KEY


WITNESSED = HEAD.note + "— witness.example YWJjZGVmZ2g=\n".encode()


def test_lines_of_unknown_witnesses_are_ignored():
    """A cosignature by a key that is not known changes nothing."""
    assert open_checkpoint(WITNESSED, KEY).size == 7


@pytest.mark.parametrize(
    "note",
    [
        b"",
        HEAD.note[:-1],
        HEAD.note.replace(b"\n", b"\r\n"),
        HEAD.note.replace(b"\n7\n", b"\n07\n"),
        HEAD.note.replace(b"\n7\n", b"\n8\n"),
        HEAD.note.replace(b"\n7\n", b"\n-7\n"),
        HEAD.note.replace(b"\n7\n", b"\n" + b"9" * 30 + b"\n"),
        HEAD.note.replace(b"AAAA=\n", b"AAAB=\n"),
        HEAD.note.replace(b"AAAA=\n", b"AAAA\n"),
        HEAD.note.replace("—".encode(), b"-"),
        HEAD.note.replace(b"example.org", b"example.com"),
        HEAD.note.split(b"\n\n")[0] + b"\n\n",
        sign_checkpoint(ORIGIN, 7, bytes(32), OTHER).note,
        sign_checkpoint("example.org/other", 7, bytes(32), SIGNER).note,
        noted(f"example.org/other\n7\n{'A' * 43}=\n"),
        noted(f"{ORIGIN}\n7\n{'A' * 43}=\nan extension\n"),
        noted(f"{ORIGIN}\n7\nAAAA\n"),
        noted(f"{ORIGIN}\n7\n"),
        HEAD.note + HEAD.note,
        HEAD.note + "— x YWJjZGVmZ2g=\n".encode() * 16,
        HEAD.note + b"x" * 70_000,
        b"\xff" + HEAD.note,
    ],
)
def test_bad_checkpoints_are_refused(note):
    """Malformed, altered, of another key or origin: no such note opens."""
    assert code_of(open_checkpoint, note, KEY) in {
        Code.LOG_CHECKPOINT_MALFORMED,
        Code.LOG_CHECKPOINT_SIGNATURE,
    }


@pytest.mark.parametrize(
    "text",
    ["", "x", "a+b+c", KEY.verifier_key[:-4], KEY.verifier_key.replace("+", "+0", 1), NOTE_KEY.lower()],
    ids=lambda _: "case",  # keys are new in every run, and parallel workers must agree on names
)
def test_bad_verifier_keys_are_refused(text):
    """A verifier key whose parts do not fit each other is refused."""
    assert code_of(parse_verifier_key, text) is Code.LOG_CHECKPOINT_MALFORMED


LOG = log_of(300)
PROOF = LOG.prove(41, LOG.head())


def test_proof_file_reads_back():
    """A proof file is its own rendering."""
    assert render_proof(parse_proof(PROOF)) == PROOF


@pytest.mark.parametrize(
    ("code", "proof"),
    [
        (Code.LOG_PROOF_MISSING, None),
        (Code.LOG_PROOF_MALFORMED, b""),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"@v1", b"@v2")),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"index 41", b"index 041")),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"index 41", b"index -1")),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"index 41", b"extra YWJj\nindex 41")),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"\n\n", b"\nAAAA\n\n", 1)),
        (Code.LOG_PROOF_MALFORMED, PROOF.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1)[:50]),
        (Code.LOG_PROOF_WRONG, PROOF.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1)),
        (Code.LOG_PROOF_WRONG, PROOF.replace(b"index 41", b"index 40")),
        (Code.LOG_PROOF_WRONG, PROOF.replace(b"index 41", b"index 300")),
        (Code.LOG_CHECKPOINT_SIGNATURE, PROOF.replace(b"\n300\n", b"\n301\n")),
        (Code.LOG_UNKNOWN, PROOF.replace(b"example.org", b"example.com")),
        (Code.LOG_CHECKPOINT_MALFORMED, PROOF + b"x"),
    ],
    ids=lambda _: "case",  # keys are new in every run, and parallel workers must agree on names
)
def test_bad_proofs_are_refused(code, proof):
    """A proof that is missing, malformed, for another entry or of another log proves nothing."""
    found = verify_log_proof(EVENTS[41], proof, [KEY])
    assert [each.code for each in found.findings] == [code]
    assert found.event is None


def test_proof_without_its_entry_is_missing():
    """A proof without the entry that it is for proves nothing."""
    (finding,) = verify_log_proof(None, PROOF, [KEY]).findings
    assert finding.code is Code.LOG_PROOF_MISSING


def test_events_read_back():
    """Every type of event can be written, read and told from another of the same content."""
    for kind in EVENT_TYPES:
        made = new_event(kind, "tester", digests={"record.json": "0" * 64})
        assert parse_event(encode_event(made)) == made
    assert event(1) != event(1)


@given(st.text(max_size=40), st.text(max_size=40))
def test_entries_are_canonical_json(details, role):
    """Whatever the text, an entry is the bytes that RFC 8785 prescribes."""
    entry = event(details=details, role=role)
    assert parse_canonical(entry)["details"] == details


@pytest.mark.parametrize(
    "facts",
    [
        {"details": "\ud800"},
        {"digests": {"a b": "0" * 64}},
        {"digests": {"x" * 201: "0" * 64}},
        {"digests": {"record.json": "0" * 63}},
        {"digests": {"record.json": "G" * 64}},
        {"details": "x" * 4001},
        {"place": "x" * 201},
        {"digests": {str(number): "0" * 64 for number in range(257)}},
        {"role": 5},
    ],
)
def test_events_out_of_form_are_refused(facts):
    """A field that is too long or of another form makes no event."""
    with pytest.raises(EventInvalid):
        encode_event(new_event("captured", "tester", **facts))


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"{}",
        EVENTS[0] + b"\n",
        EVENTS[0].replace(b'"captured"', b'"invented"'),
        EVENTS[0].replace(b"custody-event/1", b"custody-event/2"),
        EVENTS[0].replace(b'"place":"",', b""),
        EVENTS[0].replace(b'"place":""', b'"place":"","place":""'),
        EVENTS[0].replace(b'"place":""', b'"planet":""'),
        EVENTS[0].replace(b'Z","c', b'+00:00","c'),
        b" " * 65536,
    ],
)
def test_entries_out_of_form_are_refused(entry):
    """Anything but the canonical JSON of an event is no entry."""
    assert code_of(parse_event, entry) is Code.LOG_ENTRY_MALFORMED
