"""Offline proofs that a log holds an entry: the file ``record.tlog-proof``.

::

    c2sp.org/tlog-proof@v1
    index 41
    base64 of a 32-byte hash, one a line, from the leaf's sibling upward

    the checkpoint, verbatim

The optional ``extra`` line is refused: we write none, and nothing would authenticate it.

Source: c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from manifests.checkpoint import MAX_NOTE_BYTES, Checkpoint, LogKey, claimed_origin, open_checkpoint, unbase64
from manifests.custody_event import CustodyEvent, parse_event
from manifests.findings import Code, Finding
from manifests.merkle import HASH_BYTES, is_included, leaf_hash
from manifests.proof import ProofError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_HASHES = 64
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 4096
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """A proof as read from its file; nothing in it is verified.

    Args:
        index: Number of the entry, from 0.
        hashes: From the leaf's sibling to the root's child.
        note: The checkpoint's bytes.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What ``verify_log_proof`` found.

    Args:
        event: The logged event; None when it is not proven to be in a trusted log.
        checkpoint: The checkpoint that it is proven to be under.
        index: Its number in the log, or -1.
        findings: Empty when proven.
    """

    event: CustodyEvent | None
    checkpoint: Checkpoint | None
    index: int
    findings: tuple[Finding, ...]


def render_proof(proof: LogProof) -> bytes:
    """The proof's file."""
    hashes = "".join(base64.b64encode(each).decode() + "\n" for each in proof.hashes)
    return f"{HEADER}\nindex {proof.index}\n{hashes}\n".encode() + proof.note


def parse_proof(text: bytes) -> LogProof:
    """Read a proof's file.

    Raises:
        ProofError: ``log-proof-malformed``.
    """
    head, blank, note = text[:MAX_PROOF_BYTES].partition(b"\n\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    found = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    hashes = tuple(unbase64(line) for line in lines[2:])
    well_formed = lines[0] == HEADER and found and blank and len(text) <= MAX_PROOF_BYTES
    if not found or not well_formed or any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError(Code.LOG_PROOF_MALFORMED, "log proof", HEADER, "another form")
    if len(hashes) > MAX_PROOF_HASHES:
        expected, got = f"at most {MAX_PROOF_HASHES} hashes", str(len(hashes))
        raise ProofError(Code.LOG_PROOF_MALFORMED, "log proof", expected, got)
    return LogProof(int(found[1]), hashes, note)


def verify_log_proof(entry: bytes | None, proof_file: bytes | None, logs: Sequence[LogKey]) -> LogVerdict:
    """Decide whether a trusted log holds *entry*.

    1. Entry and proof are there.
    2. The proof is well-formed, and its checkpoint names a trusted log.
    3. The log's key signed the checkpoint.
    4. The hashes lead from the entry to the checkpoint's root.
    5. The entry is a custody event.

    That what the event says fits the evidence is for the caller to check.
    """
    if entry is None or proof_file is None:
        return LogVerdict(None, None, -1, (Finding(Code.LOG_PROOF_MISSING, "custody log"),))
    try:
        proof = parse_proof(proof_file)
        origin = claimed_origin(proof.note)
        key = next((log for log in logs if log.origin == origin), None)
        if key is None:
            unknown = Finding(Code.LOG_UNKNOWN, "custody log", "a trusted log", origin)
            return LogVerdict(None, None, proof.index, (unknown,))
        checkpoint = open_checkpoint(proof.note, key)
        _check_included(entry, proof, checkpoint)
        event = parse_event(entry)
    except ProofError as error:
        return LogVerdict(None, None, -1, (error.finding,))
    return LogVerdict(event, checkpoint, proof.index, ())


def _check_included(entry: bytes, proof: LogProof, checkpoint: Checkpoint) -> None:
    if not is_included(leaf_hash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        subject = f"entry {proof.index} of {checkpoint.origin}"
        raise ProofError(
            Code.LOG_PROOF_WRONG, subject, f"a path to the root of size {checkpoint.size}", "another"
        )
