"""Create-only uploads: one request for a small object, parts in a bounded flight for a large one."""

from __future__ import annotations

import contextlib
import hashlib
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import StoreRefused, StoreUnavailable
from storage.keys import shown
from storage.retention import Retention
from storage.s3.errors import error_code, was_retried
from storage.s3.locks import lock_arguments
from storage.streams import MIB, chunks

PART_BYTES = 16 * MIB
MAX_PARTS = 10_000
"""What S3 allows; with ``PART_BYTES`` it limits an object to 156 GiB."""

_PARTS_IN_FLIGHT = 4
_MAX_TRIES = 6
_FIRST_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upload goes.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket.
        key: The whole key, the store's prefix included.
        conditions: ``IfNoneMatch`` or ``IfMatch`` arguments of the request that makes the object.
        retention: What the object is kept by from its first moment, or None.
    """

    client: Any
    bucket: str
    key: str
    conditions: dict[str, str]
    retention: Retention | None = None

    @property
    def place(self) -> dict[str, str]:
        """Arguments that every request about the object has."""
        return {"Bucket": self.bucket, "Key": self.key}

    @property
    def lock(self) -> dict[str, Any]:
        """Arguments that lock the object as it is made; some servers drop them, so the lock is read back."""
        return lock_arguments(self.retention) if self.retention else {}


@dataclass(frozen=True, slots=True)
class Upload:
    """What was sent and what came back.

    Args:
        size_bytes: Length of what was sent.
        sha256: Hex SHA-256 of what was sent.
        checksum: The checksum S3 must have for it: base64 SHA-256, of the parts' digests with
            ``-<count>`` appended where it went in parts.
        answer: S3's answer, or None when the key was taken, perhaps by an earlier try of this upload.
    """

    size_bytes: int
    sha256: str
    checksum: str
    answer: dict[str, Any] | None


def send(target: Target, source: bytes | Path | BinaryIO, check: Callable[[str], None]) -> Upload:
    """Send *source* in one pass, as one request or in parts, in flat memory; see ``Upload``.

    Args:
        target: Where to.
        source: Read once.
        check: Called with the hex SHA-256 of the whole before the object comes to be; raises to refuse.
    """
    parts = chunks(source, PART_BYTES)
    first = next(parts, b"")
    if len(first) < PART_BYTES:
        return _send_whole(target, first, check)
    return _send_parts(target, chain([first], parts), check)


def _send_whole(target: Target, data: bytes, check: Callable[[str], None]) -> Upload:
    digest = hashlib.sha256(data)
    check(digest.hexdigest())
    checksum = b64encode(digest.digest()).decode()
    answer = _unless_taken(
        target.client.put_object,
        **target.place,
        **target.conditions,
        **target.lock,
        Body=data,
        ChecksumSHA256=checksum,
    )
    return Upload(len(data), digest.hexdigest(), checksum, answer)


def _send_parts(target: Target, parts: Iterable[bytes], check: Callable[[str], None]) -> Upload:
    with _multipart(target) as upload_id:
        whole = hashlib.sha256()
        size_bytes = 0
        done: list[dict[str, Any]] = []
        flying: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(_PARTS_IN_FLIGHT) as pool:
            for number, part in enumerate(parts, start=1):
                _check_count(target, number)
                if len(flying) == _PARTS_IN_FLIGHT:
                    done.append(flying.popleft().result())
                flying.append(pool.submit(_send_part, target, upload_id, number, part))
                whole.update(part)
                size_bytes += len(part)
            done.extend(future.result() for future in flying)
        check(whole.hexdigest())
        composite = hashlib.sha256(b"".join(part.pop("Digest") for part in done)).digest()
        answer = _unless_taken(
            target.client.complete_multipart_upload,
            **target.place,
            **target.conditions,
            UploadId=upload_id,
            MultipartUpload={"Parts": done},
        )
        checksum = f"{b64encode(composite).decode()}-{len(done)}"
        return Upload(size_bytes, whole.hexdigest(), checksum, answer)


@contextlib.contextmanager
def _multipart(target: Target) -> Iterator[str]:
    """Begin an upload in parts; end it on any failure, so that no parts are kept and paid for."""
    created = target.client.create_multipart_upload(**target.place, **target.lock, ChecksumAlgorithm="SHA256")
    upload_id = str(created["UploadId"])
    completed = False
    try:
        yield upload_id
        completed = True
    finally:
        if not completed:
            abort(target, upload_id)


def abort(target: Target, upload_id: str) -> None:
    """End an upload in parts. Failing to is no failure of the caller's: ``cleanup`` tries again."""
    with contextlib.suppress(ClientError, BotoCoreError):
        target.client.abort_multipart_upload(**target.place, UploadId=upload_id)


def _send_part(target: Target, upload_id: str, number: int, part: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(part).digest()
    checksum = b64encode(digest).decode()
    answer = target.client.upload_part(
        **target.place, UploadId=upload_id, PartNumber=number, Body=part, ChecksumSHA256=checksum
    )
    return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum, "Digest": digest}


def _unless_taken(call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any] | None:
    """Make the request that creates the object; None when its key is taken."""
    try:
        return decide(call, **arguments)
    except ClientError as exc:
        code = error_code(exc)
        if code == "PreconditionFailed" or (code == "NoSuchUpload" and was_retried(exc)):
            return None
        raise


def decide(call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Make a conditional request, again while S3 says that another one is under way (409).

    Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes".
    """
    for attempt in range(_MAX_TRIES):
        try:
            return call(**arguments)
        except ClientError as exc:
            if error_code(exc) != "ConditionalRequestConflict":
                raise
            time.sleep(_FIRST_PAUSE_S * 2**attempt)
    raise StoreUnavailable(
        f"object {shown(arguments['Key'])}: others write it all the time: expected one try to pass, "
        f"got {_MAX_TRIES} conflicts",
        code="E642",
        hint="run it again when the other writers have ended",
    )


def _check_count(target: Target, number: int) -> None:
    if number > MAX_PARTS:
        raise StoreRefused(
            f"object {shown(target.key)}: too large: "
            f"expected at most {MAX_PARTS} parts of {PART_BYTES} bytes, got more",
            code="E636",
            hint="keep objects of this size in a folder store",
        )
