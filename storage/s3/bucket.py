"""One bucket as a store sees it: names, what the server honours there, and the state of an object."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from storage.errors import InvalidKey, ObjectMissing, StoreRefused
from storage.keys import MAX_KEY_BYTES, check_key, shown
from storage.retention import Retention, RetentionRule
from storage.s3 import probes
from storage.s3.errors import error_code, s3_errors
from storage.s3.listing import Listing


class S3Bucket:
    """The part of a bucket under one prefix; asks for what the server honours once. See ``S3Store``."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        client: Any,
        rule: RetentionRule | None = None,
        profile: str = "",
    ) -> None:
        place = f"{profile}@{bucket}" if profile else bucket
        self.url = f"s3://{place}/{prefix}" if prefix else f"s3://{place}"
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.client = client
        self.rule = rule

    @cached_property
    def _keeps_versions(self) -> bool:
        return probes.keeps_versions(self.client, self.bucket)

    @cached_property
    def _locks(self) -> bool:
        return probes.locks(self.client, self.bucket)

    @cached_property
    def _strictest_rule(self) -> RetentionRule | None:
        """The store's rule and the bucket's default in one; an explicit lock would override the default."""
        if self.rule is None or not self._locks:
            return None
        return self.rule.joined(probes.default_rule(self.client, self.bucket))

    @cached_property
    def _creates_only(self) -> bool:
        return probes.creates_only(self.client, self.bucket, self.prefix)

    @cached_property
    def _replaces_only(self) -> bool:
        return self._creates_only and probes.replaces_only(self.client, self.bucket, self.prefix)

    @property
    def _subject(self) -> str:
        return f"store {shown(self.url)}"

    @property
    def _listing(self) -> Listing:
        return Listing(self.client, self.bucket, self.prefix)

    def _retention(self) -> Retention | None:
        """What an object that is stored now is kept by."""
        rule = self._strictest_rule
        return rule.starting(datetime.now(UTC)) if rule else None

    def _name(self, key: str) -> str:
        """Name in the bucket of *key*."""
        name = self.prefix + check_key(key)
        size_bytes = len(name.encode())
        if size_bytes > MAX_KEY_BYTES:
            raise InvalidKey(
                f"key {shown(key)}: too long with the store's prefix: "
                f"expected at most {MAX_KEY_BYTES} bytes, got {size_bytes} bytes",
                code="E601",
                hint="give the store a shorter prefix",
            )
        return name

    def _head(self, key: str) -> dict[str, Any]:
        name = self._name(key)
        with s3_errors(f"object {shown(key)}"):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=name, ChecksumMode="ENABLED")
            except ClientError as exc:
                if error_code(exc) == "404":
                    self._require_bucket()
                raise
        return dict(answer)

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object: the answer to a HEAD has no room to say which."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as exc:
            if error_code(exc) != "404":
                return  # not allowed to ask; the object's own answer stands
            raise StoreRefused(
                f"{self._subject}: no such bucket: expected one named {self.bucket}, got none",
                code="E630",
                hint="check the name and AWS_ENDPOINT_URL, or create the bucket",
            ) from exc

    def _is_there(self, key: str) -> bool:
        try:
            self._head(key)
        except ObjectMissing:
            return False
        return True
