"""A store in an S3 bucket: create-only by conditional writes, checksums compared by the server."""

from __future__ import annotations

import hashlib
import io
import secrets
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from storage.errors import (
    DigestMismatch,
    InvalidRange,
    ObjectConflict,
    ObjectMissing,
    StoreRefused,
)
from storage.interface import Capabilities, ObjectInfo, Receipt
from storage.keys import check_folder, check_prefix, shown
from storage.probe import Promise
from storage.retention import (
    Lock,
    Retention,
    check_deletable,
    check_stricter,
    is_live,
    longer,
    require_kept,
)
from storage.s3 import probes
from storage.s3.bucket import S3Bucket
from storage.s3.errors import error_code, s3_errors, was_retried
from storage.s3.locks import lock_from, put_hold, put_retention, require_locks
from storage.s3.reader import S3Reader
from storage.s3.removal import abort_uploads, versions
from storage.s3.survey import Survey
from storage.s3.upload import Target, Upload, decide, send
from storage.streams import (
    check_announced,
    check_range,
    check_replacement,
    digest_of,
    require_announced,
    require_same,
)

_CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "404"})
"""How servers answer a put whose If-Match or If-None-Match does not hold."""

_ABANDONED_AFTER = timedelta(days=7)


class S3Store(S3Bucket):
    """Objects under one prefix of one bucket. Safe to use from several threads.

    Args:
        bucket: The bucket, which must exist.
        prefix: A key that every object's key is put under, or an empty string.
        client: A boto3 S3 client, as ``storage.s3.connect`` makes it.
        rule: What each new object is kept by where the bucket has Object Lock, unless the bucket's own
            default is stricter; None leaves it to the bucket.
        profile: The AWS profile that *client* is of, where the store's URL names one.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the server and the bucket's settings promise; writes the probe's objects at first use."""
        with s3_errors(self._subject):
            return Capabilities(
                conditional_writes=self._creates_only,
                retention=self._locks,
                versioning=self._keeps_versions,
            )

    def put(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str | None = None) -> Receipt:
        """Create *key* or find the same bytes there; see ``storage.interface``."""
        name = self._name(key)
        check_announced(key, sha256)
        with s3_errors(f"object {shown(key)}"):
            retention = self._retention()
            if not self._creates_only and self._is_there(key):
                sent = Upload(*digest_of(source), checksum="", answer=None)
            else:
                target = Target(
                    self.client,
                    self.bucket,
                    name,
                    {"IfNoneMatch": "*"} if self._creates_only else {},
                    retention,
                )
                sent = send(target, source, partial(require_announced, key, sha256))
        receipt = self._found(key, sent) if sent.answer is None else self._confirmed(key, sent, sent.answer)
        return self._kept(receipt, retention)

    def open(self, key: str, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open *key* for reading; see ``storage.interface``."""
        check_range(key, offset, length)
        if length == 0:  # S3 has no way to ask for no bytes
            self.stat(key)
            return io.BytesIO()
        last = "" if length is None else offset + length - 1
        arguments = {"Range": f"bytes={offset}-{last}"} if offset or length else {}
        try:
            answer = self._get(key, arguments)
        except InvalidRange:
            return io.BytesIO()
        end = offset + int(answer["ContentLength"])

        def fetch(position: int) -> Any:
            again = {"Range": f"bytes={position}-{end - 1}", "IfMatch": answer["ETag"]}
            return self._get(key, again)["Body"]

        return S3Reader(key, end, answer["Body"], offset, fetch).narrowed(offset, None)

    def stat(self, key: str) -> ObjectInfo:
        """Describe *key*; see ``storage.interface``."""
        answer = self._head(key)
        return ObjectInfo(
            key=key,
            size_bytes=int(answer["ContentLength"]),
            etag=answer["ETag"],
            version_id=answer.get("VersionId", ""),
        )

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in order of keys; a request for each folder where the server has another order."""
        check_prefix(prefix)
        with s3_errors(self._subject):
            in_order = probes.lists_in_order(self.client, self.bucket, self.prefix)
        return self._listing.in_server_order(prefix) if in_order else self._listing.by_folder(prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the next segments under *prefix*; see ``storage.interface``."""
        return self._listing.folders(check_folder(prefix))

    def replace(self, key: str, data: bytes, *, etag: str | None) -> str:
        """Swap *key* if it still has *etag*; see ``storage.interface``."""
        name = self._name(key)
        check_replacement(key, data, etag)
        with s3_errors(f"object {shown(key)}"):
            self._require_conditions(key)
            try:
                answer = decide(
                    self.client.put_object,
                    Bucket=self.bucket,
                    Key=name,
                    Body=data,
                    ChecksumSHA256=b64encode(hashlib.sha256(data).digest()).decode(),
                    **({"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}),
                )
            except ClientError as exc:
                if error_code(exc) not in _CHANGED:
                    raise
                answer = self._after_refusal(key, data, etag, retried=was_retried(exc))
        return str(answer["ETag"])

    def delete(self, key: str) -> None:
        """Delete *key* with all its versions, none of which may be locked; see ``storage.interface``."""
        self._head(key)
        place = {"Bucket": self.bucket, "Key": self._name(key)}
        with s3_errors(f"object {shown(key)}"):
            found = versions(self.client, self.bucket, place["Key"])
            if self._locks:
                for version in found.objects:
                    check_deletable(key, lock_from(self.client.head_object(**place, VersionId=version)))
            # The oldest first: until the last one goes, the current one is what everybody sees.
            for version in found.markers + found.objects[::-1]:
                self.client.delete_object(**place, VersionId=version)

    def restore(self, key: str, source: bytes | Path | BinaryIO, *, sha256: str) -> Receipt:
        """Put the right bytes in the place of *key*; see ``storage.repair``.

        The old ones stay as an older version, or as a copy under ``.damaged`` where the bucket keeps none.
        """
        check_announced(key, sha256)
        self._head(key)
        name = self._name(key)
        with s3_errors(f"object {shown(key)}"):
            if not self._keeps_versions:
                aside = f"{self.prefix}.damaged/{secrets.token_hex(8)}/{key}"
                self.client.copy_object(
                    Bucket=self.bucket, Key=aside, CopySource={"Bucket": self.bucket, "Key": name}
                )
            retention = self._retention()
            target = Target(self.client, self.bucket, name, {}, retention)
            sent = send(target, source, partial(require_announced, key, sha256))
        return self._kept(self._confirmed(key, sent, sent.answer or {}), retention)

    def probe(self) -> Sequence[Promise]:
        """Try every promise on the server and the bucket; see ``storage.probe``."""
        with s3_errors(self._subject):
            return list(Survey(self.client, self.bucket, self.prefix).promises())

    def lock_of(self, key: str) -> Lock:
        """Return the lock of the current version of *key*; see ``storage.retention``."""
        return lock_from(self._head(key))

    def retain(self, key: str, retention: Retention) -> Lock:
        """Keep the current version of *key* until a date; see ``storage.retention``."""
        place, lock = self._lockable(key)
        check_stricter(key, lock, retention)
        with s3_errors(f"object {shown(key)}"):
            put_retention(self.client, place, retention)
        return require_kept(key, Lock(retention, held=lock.held), self.lock_of(key))

    def hold(self, key: str) -> Lock:
        """Lay a legal hold on the current version of *key*; see ``storage.retention``."""
        return self._set_hold(key, held=True)

    def release(self, key: str) -> Lock:
        """Take the legal hold off the current version of *key*; see ``storage.retention``."""
        return self._set_hold(key, held=False)

    def cleanup(self) -> int:
        """End the uploads in parts that nobody has ended for a week; return how many."""
        oldest = datetime.now(UTC) - _ABANDONED_AFTER
        with s3_errors(self._subject):
            return abort_uploads(self.client, self.bucket, self.prefix, oldest)

    def _kept(self, receipt: Receipt, wanted: Retention | None) -> Receipt:
        """Read the lock of what was put, set it where the server dropped it, and complete the receipt."""
        if wanted is None:
            return receipt
        head = self._head(receipt.key)
        lock = lock_from(head)
        if not is_live(lock) or (receipt.created and longer(lock.retention, wanted) != lock.retention):
            self.retain(receipt.key, longer(lock.retention, wanted))
        return replace(
            receipt,
            version_id=head.get("VersionId", ""),
            server_checksum=head.get("ChecksumSHA256", receipt.server_checksum),
        )

    def _set_hold(self, key: str, *, held: bool) -> Lock:
        place, lock = self._lockable(key)
        with s3_errors(f"object {shown(key)}"):
            put_hold(self.client, place, held=held)
        return require_kept(key, Lock(lock.retention, held=held), self.lock_of(key))

    def _lockable(self, key: str) -> tuple[dict[str, str], Lock]:
        """Arguments that name the current version of *key*, and its lock."""
        head = self._head(key)
        with s3_errors(f"object {shown(key)}"):
            require_locks(key, has_locks=self._locks)
        place = {"Bucket": self.bucket, "Key": self._name(key), "VersionId": head.get("VersionId", "null")}
        return place, lock_from(head)

    def _get(self, key: str, arguments: dict[str, str]) -> dict[str, Any]:
        name = self._name(key)
        with s3_errors(f"object {shown(key)}"):
            answer = self.client.get_object(Bucket=self.bucket, Key=name, **arguments)
        if "Range" in arguments and "ContentRange" not in answer:
            answer["Body"].close()
            raise StoreRefused(
                f"object {shown(key)}: range ignored: expected a part of the object, got all of it",
                code="E644",
                hint="check the proxy between this machine and the S3 server",
            )
        return dict(answer)

    def _confirmed(self, key: str, sent: Upload, answer: dict[str, Any]) -> Receipt:
        """Receipt for what was created, once the server is known to have the bytes that were sent."""
        if answer.get("ChecksumSHA256") != sent.checksum:
            stored = self._stored(key, sent, self._head(key))
            if stored != (sent.size_bytes, sent.sha256):
                raise DigestMismatch(
                    f"object {shown(key)}: stored with other bytes: expected sha256 {sent.sha256} "
                    f"({sent.size_bytes} bytes), got {stored[1]} ({stored[0]} bytes)",
                    code="E631",
                    hint="the server does not compare checksums; check it with archiver store init",
                )
        return _receipt(key, sent, answer, created=True)

    def _found(self, key: str, sent: Upload) -> Receipt:
        """Receipt for bytes that were there, perhaps from an earlier try whose answer was lost."""
        try:
            head = self._head(key)
        except ObjectMissing as exc:
            raise ObjectConflict(
                f"object {shown(key)}: name taken, but not by an object: expected a free name, "
                "got one that the server keeps for a folder, or that was deleted just now",
                code="E608",
                hint="use another key, or run it again",
            ) from exc
        require_same(key, self._stored(key, sent, head), (sent.size_bytes, sent.sha256))
        return _receipt(key, sent, head, created=False)

    def _stored(self, key: str, sent: Upload, head: dict[str, Any]) -> tuple[int, str]:
        """Size and SHA-256 of what is there; read back only where the server's checksum does not tell."""
        size_bytes = int(head["ContentLength"])
        if size_bytes != sent.size_bytes:
            return size_bytes, "not computed"
        if head.get("ChecksumSHA256") == sent.checksum:
            return size_bytes, sent.sha256
        with self.open(key) as stored:
            return digest_of(stored)

    def _require_conditions(self, key: str) -> None:
        if not self._replaces_only:
            raise StoreRefused(
                f"object {shown(key)}: cannot be replaced safely: expected a server that honours If-Match, "
                "got one that does not",
                code="E626",
                hint="use another server for this store, or a folder",
            )

    def _after_refusal(self, key: str, data: bytes, etag: str | None, *, retried: bool) -> dict[str, Any]:
        """Current state after a refusal, if it is the work of our own try whose answer was lost."""
        head = self._head(key) if self._is_there(key) else None
        if head is not None and retried:
            with self.open(key) as stored:
                if digest_of(stored) == digest_of(data):
                    return head
        raise ObjectConflict(
            f"object {shown(key)}: changed by somebody else: expected etag {etag}, "
            f"got {head['ETag'] if head else None}",
            code="E622",
            hint="read it again and repeat the change",
        )


def _receipt(key: str, sent: Upload, answer: dict[str, Any], *, created: bool) -> Receipt:
    return Receipt(
        key=key,
        size_bytes=sent.size_bytes,
        sha256=sent.sha256,
        created=created,
        etag=answer.get("ETag", ""),
        version_id=answer.get("VersionId", ""),
        server_checksum=answer.get("ChecksumSHA256", ""),
    )
