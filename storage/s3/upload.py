"""Create-only uploads: one request for a small object, parts in a bounded flight for a large one."""

from __future__ import annotations

import contextlib
import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from storage.errors import StoreRefused, StoreUnavailable
from storage.keys import shown
from storage.retention import Retention
from storage.s3.errors import error_code, http_status, was_retried
from storage.s3.locks import lock_arguments
from storage.streams import MIB, chunks

PART_BYTES = 16 * MIB
MAX_PARTS = 10_000
"""What S3 allows; with ``PART_BYTES`` it limits an object to 156 GiB."""

_PARTS_IN_FLIGHT = 4
_USELESS = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
"""How servers answer to an upload that is over, or has other parts than we think."""

Source = bytes | Path | BinaryIO
Check = Callable[[str], None]
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


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the server has: its tag, and its base64 SHA-256 where the server lists one."""

    etag: str
    checksum: str

    def is_of(self, data: bytes, checksum: str) -> bool:
        """Tell whether the part holds *data*, whose base64 SHA-256 is *checksum*.

        Where only the tag tells, which is the MD5 then, the SHA-256 of all parts decides at completion.
        """
        if self.checksum:
            return self.checksum == checksum
        return self.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def send(target: Target, source: Source, check: Check) -> Upload:
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
    return _send_parts(target, source, chain([first], parts), check)


def _send_whole(target: Target, data: bytes, check: Check) -> Upload:
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


def _send_parts(target: Target, source: Source, parts: Iterable[bytes], check: Check) -> Upload:
    """Send in parts; a file goes on with the upload that an earlier try of it left, if there is one."""
    begun = find_upload(target) if isinstance(source, Path) else None
    if begun is None:
        return _send_all(target, _created(target), {}, parts, check, keep=isinstance(source, Path))
    try:
        return _send_all(target, begun, parts_of(target, begun), parts, check, keep=True)
    except ClientError as exc:
        if error_code(exc) not in _USELESS:
            raise
    # Somebody else completed, ended or wrote into that upload: what is in it is not ours alone.
    return _send_all(target, _created(target), {}, chunks(source, PART_BYTES), check, keep=True)


def _send_all(
    target: Target,
    upload_id: str,
    there: Mapping[int, Part],
    parts: Iterable[bytes],
    check: Check,
    *,
    keep: bool,
) -> Upload:
    with _ended_on_failure(target, upload_id, keep=keep):
        whole = hashlib.sha256()
        size_bytes = 0
        done: list[dict[str, Any]] = []
        flying: set[Future[dict[str, Any]]] = set()
        with ThreadPoolExecutor(_PARTS_IN_FLIGHT) as pool:
            for number, part in enumerate(parts, start=1):
                _check_count(target, number)
                if len(flying) == _PARTS_IN_FLIGHT:
                    ended, flying = wait(flying, return_when=FIRST_COMPLETED)
                    done.extend(future.result() for future in ended)
                flying.add(pool.submit(_send_part, target, upload_id, number, part, there.get(number)))
                whole.update(part)
                size_bytes += len(part)
            done.extend(future.result() for future in flying)
        done.sort(key=lambda part: int(part["PartNumber"]))
        check(whole.hexdigest())
        composite = hashlib.sha256(b"".join(part.pop("Digest") for part in done)).digest()
        answer = _unless_taken(
            target.client.complete_multipart_upload,
            **target.place,
            **target.conditions,
            UploadId=upload_id,
            MultipartUpload={"Parts": done},
        )
        if answer is None:
            abort(target, upload_id)
        checksum = f"{b64encode(composite).decode()}-{len(done)}"
        return Upload(size_bytes, whole.hexdigest(), checksum, answer)


def _created(target: Target) -> str:
    created = target.client.create_multipart_upload(**target.place, **target.lock, ChecksumAlgorithm="SHA256")
    return str(created["UploadId"])


@contextlib.contextmanager
def _ended_on_failure(target: Target, upload_id: str, *, keep: bool) -> Iterator[None]:
    """End an upload in parts that failed, so that no parts are kept and paid for.

    With *keep* one that the network or the server broke off is left for the next try; ``cleanup`` ends it
    when there is none.
    """
    try:
        yield
    except (BotoCoreError, HTTPError, ConnectionError, TimeoutError):
        if not keep:
            abort(target, upload_id)
        raise
    except ClientError as exc:
        if not keep or http_status(exc) < 500:  # RFC 9110 section 15.6: the server failed, not the request
            abort(target, upload_id)
        raise
    except BaseException:
        abort(target, upload_id)
        raise


def abort(target: Target, upload_id: str) -> None:
    """End an upload in parts. Failing to is no failure of the caller's: ``cleanup`` tries again."""
    with contextlib.suppress(ClientError, BotoCoreError):
        target.client.abort_multipart_upload(**target.place, UploadId=upload_id)


def find_upload(target: Target) -> str | None:
    """Return the newest upload in parts of the object that is not over; None for none, or no right to ask."""
    try:
        answer = target.client.list_multipart_uploads(Bucket=target.bucket, Prefix=target.key)
    except ClientError as exc:
        if http_status(exc) >= 500:
            raise
        return None
    found = [one for one in answer.get("Uploads", ()) if one["Key"] == target.key]
    return str(max(found, key=lambda one: one["Initiated"])["UploadId"]) if found else None


def parts_of(target: Target, upload_id: str) -> dict[int, Part]:
    """Return the parts that the server has of an upload, by number."""
    pages = target.client.get_paginator("list_parts").paginate(**target.place, UploadId=upload_id)
    return {
        int(one["PartNumber"]): Part(one["ETag"], one.get("ChecksumSHA256", ""))
        for page in pages
        for one in page.get("Parts", ())
    }


def _send_part(
    target: Target, upload_id: str, number: int, part: bytes, there: Part | None
) -> dict[str, Any]:
    digest = hashlib.sha256(part).digest()
    checksum = b64encode(digest).decode()
    if there is not None and there.is_of(part, checksum):
        return {"PartNumber": number, "ETag": there.etag, "ChecksumSHA256": checksum, "Digest": digest}
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
