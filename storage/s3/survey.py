"""Tries out on an S3 server and bucket what evidence needs of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from storage.probe import Promise, Verdict
from storage.retention import Retention, RetentionMode
from storage.s3 import probes
from storage.s3.errors import error_code, http_status
from storage.s3.locks import lock_from, put_retention
from storage.s3.upload import Target, send

_RACERS = 8
_ROUNDS = 3
_TAKEN = frozenset({"PreconditionFailed"})
_DAMAGED = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
)
_WRONG_CHECKSUM = "A" * 43 + "="
_TEXT = b"This object shows which promises the server keeps. It is no evidence.\n"


@dataclass(frozen=True, slots=True)
class Survey:
    """One bucket under trial.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket.
        prefix: The store's prefix in it; empty, or ending in ``/``.
    """

    client: Any
    bucket: str
    prefix: str

    def promises(self) -> Iterator[Promise]:
        """Try every promise in turn; each trial has keys of its own."""
        yield self._tried(
            "create-only",
            lambda: probes.creates_only(self.client, self.bucket, self.prefix),
            "A second put of a key is refused by the server.",
            "A second put of a key overwrites it: the server ignores If-None-Match. Objects are looked for "
            "before each put instead, which two writers at the same moment can get around.",
        )
        yield self._tried(
            "racing-creators",
            self._one_racer_wins,
            "Of writers at the same moment exactly one creates a key.",
            "Of writers at the same moment several are told that they created the same key: let only one "
            "machine write to this store.",
        )
        yield self._tried(
            "replace-only",
            lambda: probes.replaces_only(self.client, self.bucket, self.prefix),
            "Pointers such as a log's checkpoint are replaced only by whoever read the last state.",
            "The server ignores If-Match: pointers such as a log's checkpoint cannot be kept here.",
        )
        yield self._tried(
            "checksums",
            self._refuses_damage,
            "Bytes that were damaged on the way are refused by the server.",
            "The server stores bytes whose SHA-256 is not the announced one: each put is read back instead.",
        )
        yield self._tried(
            "checksums-of-parts",
            self._refuses_damaged_parts,
            "Damaged parts of large objects are refused as well.",
            "The server stores parts whose SHA-256 is not the announced one: audit large objects at once.",
        )
        yield self._tried(
            "create-only-in-parts",
            self._completes_only_new,
            "A large object in parts does not overwrite one either.",
            "An upload in parts overwrites an object of its key: the server ignores If-None-Match there.",
        )
        yield self._tried(
            "versions",
            lambda: probes.keeps_versions(self.client, self.bucket),
            "Older versions stay readable when an object is overwritten or deleted by others.",
            "The bucket keeps no versions: what others overwrite or delete is gone. Turn versioning on.",
        )
        yield self._tried(
            "locks",
            self._keeps_locks,
            "Objects can be locked, and the server refuses to delete or unlock them before their date.",
            "Nothing here is locked: whoever has the credentials can delete evidence. Use a bucket that was "
            "made with Object Lock.",
        )
        yield self._tried(
            "default-retention",
            self._retains_by_default,
            "Every new object is retained from its first moment by the bucket's default.",
            "The bucket has no default retention: objects are locked one by one after they are stored.",
        )
        yield self._tried(
            "encryption",
            self._encrypts,
            "The server encrypts what it stores.",
            "The server stores objects as they are: whoever gets its disks can read them.",
        )
        yield self._tried(
            "no-public-access",
            self._blocks_the_public,
            "Public access is blocked for the whole bucket.",
            "Public access is not blocked for the bucket as a whole: check its policy and its ACLs.",
        )

    def _tried(self, name: str, trial: Callable[[], bool], holds: str, broken: str) -> Promise:
        try:
            kept = trial()
        except ClientError as exc:
            if http_status(exc) == 501:  # RFC 9110 section 15.6.2: the server knows no such request
                return Promise(name, Verdict.UNKNOWN, f"{broken} (the server has no such setting)")
            if http_status(exc) in {401, 403} and error_code(exc) == "AccessDenied":
                return Promise(name, Verdict.UNKNOWN, f"{broken} (these credentials may not ask)")
            raise
        return Promise(name, Verdict.HOLDS, holds) if kept else Promise(name, Verdict.BROKEN, broken)

    def _new(self, **conditions: str) -> Target:
        return Target(self.client, self.bucket, f"{self.prefix}.probe/{secrets.token_hex(8)}", conditions)

    def _one_racer_wins(self) -> bool:
        with ThreadPoolExecutor(_RACERS) as pool:
            for _ in range(_ROUNDS):
                target = self._new(IfNoneMatch="*")
                offers = [bytes([number]) for number in range(_RACERS)]
                wins = list(
                    pool.map(lambda data, to=target: send(to, data, _accept).answer is not None, offers)
                )
                self._forget([target])
                if sum(wins) != 1:
                    return False
        return True

    def _refuses_damage(self) -> bool:
        target = self._new()
        try:
            self.client.put_object(**target.place, Body=_TEXT, ChecksumSHA256=_WRONG_CHECKSUM)
        except ClientError as exc:
            return _is_refusal(exc, _DAMAGED)
        self._forget([target])
        return False

    def _refuses_damaged_parts(self) -> bool:
        target = self._new()
        upload = self.client.create_multipart_upload(**target.place, ChecksumAlgorithm="SHA256")["UploadId"]
        try:
            self.client.upload_part(
                **target.place, UploadId=upload, PartNumber=1, Body=_TEXT, ChecksumSHA256=_WRONG_CHECKSUM
            )
        except ClientError as exc:
            return _is_refusal(exc, _DAMAGED)
        finally:
            self.client.abort_multipart_upload(**target.place, UploadId=upload)
        return False

    def _completes_only_new(self) -> bool:
        target = self._new()
        self.client.put_object(**target.place, Body=_TEXT)
        upload = self.client.create_multipart_upload(**target.place, ChecksumAlgorithm="SHA256")["UploadId"]
        part = self.client.upload_part(
            **target.place, UploadId=upload, PartNumber=1, Body=_TEXT, ChecksumAlgorithm="SHA256"
        )
        parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part.get("ChecksumSHA256", "")}]
        try:
            self.client.complete_multipart_upload(
                **target.place, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except ClientError as exc:
            self.client.abort_multipart_upload(**target.place, UploadId=upload)
            return _is_refusal(exc, _TAKEN)
        finally:
            self._forget([target])
        return False

    def _keeps_locks(self) -> bool:
        if not probes.locks(self.client, self.bucket):
            return False
        target = self._new()
        version = self.client.put_object(**target.place, Body=_TEXT).get("VersionId", "null")
        place = target.place | {"VersionId": version}
        until = (datetime.now(UTC) + timedelta(minutes=2)).replace(microsecond=0)
        wanted = Retention(RetentionMode.GOVERNANCE, until)
        if lock_from(self.client.head_object(**place)).retention is None:
            put_retention(self.client, place, wanted)
        kept = lock_from(self.client.head_object(**place)).retention
        return kept is not None and kept.retain_until >= until and self._refuses_to_delete(place)

    def _refuses_to_delete(self, place: dict[str, str]) -> bool:
        try:
            self.client.delete_object(**place)
        except ClientError as exc:
            return http_status(exc) in {400, 403}
        return False

    def _retains_by_default(self) -> bool:
        return probes.default_rule(self.client, self.bucket) is not None

    def _encrypts(self) -> bool:
        try:
            self.client.get_bucket_encryption(Bucket=self.bucket)
        except ClientError as exc:
            if http_status(exc) != 404:  # RFC 9110 section 15.5.5: no such configuration
                raise
            return False
        return True

    def _blocks_the_public(self) -> bool:
        try:
            answer = self.client.get_public_access_block(Bucket=self.bucket)
        except ClientError as exc:
            if http_status(exc) != 404:
                raise
            return False
        return all(answer["PublicAccessBlockConfiguration"].values())

    def _forget(self, targets: Sequence[Target]) -> None:
        """Delete trial objects; where a lock forbids it they stay, unlisted, until their date."""
        for target in targets:
            try:
                version = self.client.head_object(**target.place).get("VersionId", "null")
                self.client.delete_object(**target.place, VersionId=version)
            except ClientError:
                continue


def _accept(_: str) -> None:
    """Trial bytes need no digest of anybody else's."""


def _is_refusal(exc: ClientError, codes: frozenset[str]) -> bool:
    """True for a refusal with one of *codes*; another failure is no answer to the trial."""
    if error_code(exc) in codes:
        return True
    raise exc
