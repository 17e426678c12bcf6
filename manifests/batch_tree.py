r"""One timestamp for many signatures: a Merkle tree over them, its root file stamped, a path kept for each.

An authority is asked once for a batch, learns one digest, and not the second of each capture. Two files lie
in the seal of every capture of the batch. ``batch-root.txt`` is what the token is over::

    evidence-batch/1
    root <64 hex digits>

``batch-path.txt`` leads there from the capture's own signature file, sibling by sibling::

    evidence-batch-path/1
    right <64 hex digits>
    left <64 hex digits>

By hand: ``(printf '\0'; cat record.json.sig) | sha256sum`` is the first hash. For each line the
sibling stands on the side it says, so for ``right``:
``(printf '\1'; echo "$hash$sibling" | xxd -r -p) | sha256sum``, and for ``left`` the other way round:
``"$sibling$hash"``. The last hash is the root.

Source: the hashes are those of RFC 6962 section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from manifests.findings import Code
from manifests.merkle import (
    inclusion_proof,
    leaf_hash,
    leaves_reader,
    node_hash,
    sibling_sides,
    tree_root,
)
from manifests.proof import ProofError

MAX_STEPS = 32
MAX_BATCH_FILE_BYTES = 4096
_ROOT_HEAD = "evidence-batch/1"
_PATH_HEAD = "evidence-batch-path/1"
_STEP = re.compile(r"(left|right) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch ready to be stamped.

    Args:
        root_file: What the token is to be over; the same for every capture of the batch.
        path_files: One for each signature, in their order.
    """

    root_file: bytes
    path_files: tuple[bytes, ...]


def make_batch(signature_files: Sequence[bytes]) -> Batch:
    """Build the tree over at least one signature file."""
    leaves = [leaf_hash(each) for each in signature_files]
    read = leaves_reader(leaves)
    root = tree_root(read, len(leaves))
    paths = [_path_file(inclusion_proof(read, at, len(leaves)), at, len(leaves)) for at in range(len(leaves))]
    return Batch(_root_file(root), tuple(paths))


def check_path(signature_file: bytes, path_file: bytes, root_file: bytes) -> None:
    """Check that *path_file* leads from *signature_file* to the root in *root_file*.

    Raises:
        ProofError: ``batch-path-malformed`` or ``batch-path-wrong``.
    """
    got = leaf_hash(signature_file)
    for side, sibling in _read_path(path_file):
        got = node_hash(sibling, got) if side == "left" else node_hash(got, sibling)
    if root_file != _root_file(got):
        raise ProofError(
            Code.BATCH_PATH_WRONG, "batch path", "one to the stamped root", f"one to {got.hex()}"
        )


def _read_path(path_file: bytes) -> list[tuple[str, bytes]]:
    text = path_file[: MAX_BATCH_FILE_BYTES + 1].decode("ascii", errors="replace")
    lines = text.removesuffix("\n").split("\n")
    steps = [_STEP.fullmatch(line) for line in lines[1:]]
    if lines[0] != _PATH_HEAD or not text.endswith("\n") or not all(steps) or len(steps) > MAX_STEPS:
        expected = f"{_PATH_HEAD} and at most {MAX_STEPS} steps"
        raise ProofError(Code.BATCH_PATH_MALFORMED, "batch path", expected, "another form")
    return [(step[1], bytes.fromhex(step[2])) for step in steps if step]


def _root_file(root: bytes) -> bytes:
    return f"{_ROOT_HEAD}\nroot {root.hex()}\n".encode()


def _path_file(proof: Sequence[bytes], index: int, size: int) -> bytes:
    """Write each sibling with its side, so that a reader need know nothing of index and size."""
    sides = sibling_sides(index, size - 1, len(proof)) or ()
    steps = [
        f"{'left' if is_left else 'right'} {sibling.hex()}"
        for sibling, is_left in zip(proof, sides, strict=True)
    ]
    return "\n".join([_PATH_HEAD, *steps, ""]).encode()
