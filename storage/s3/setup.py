"""Makes or completes a bucket for evidence: versions, locks, retention, encryption, no public access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from storage.retention import RetentionMode
from storage.s3.client import DEFAULT_REGION
from storage.s3.errors import error_code, http_status, s3_errors

_MAX_DAYS = 36_500


def prepare_bucket(client: Any, bucket: str, *, mode: RetentionMode | None, days: int = 0) -> list[str]:
    """Create *bucket* if it is missing and set it up; what it has already is made stricter, never looser.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket.
        mode: Default retention for every new object, or None for none. Compliance cannot be undone.
        days: How long, 1 to 36,500 days; 0 with no mode.

    Returns:
        One sentence for each setting that could not be made, empty when all were.

    Raises:
        ValueError: *days* is out of range.
        StoreRefused, StoreUnavailable: The bucket cannot be made or reached.
    """
    if (mode is None) != (days == 0) or not 0 <= days <= _MAX_DAYS:
        raise ValueError(
            f"default retention: expected 1 to {_MAX_DAYS} days with a mode, got {days} days, {mode}"
        )
    with s3_errors(f"store s3://{bucket}"):
        _make(client, bucket)
        steps = [
            _try("Versioning", lambda: _keep_versions(client, bucket)),
            _try("Encryption", lambda: _encrypt(client, bucket)),
            _try("Blocking public access", lambda: _block_public_access(client, bucket)),
        ]
        if mode is not None:
            steps.append(_try("Default retention", lambda: _retain(client, bucket, mode, days)))
    return [step for step in steps if step]


def _make(client: Any, bucket: str) -> None:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as exc:
        if error_code(exc) != "404":
            raise
    else:
        return
    region = client.meta.region_name
    # S3 refuses its first region by name and wants every other one to be named.
    place = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, **place)


def _try(what: str, step: Callable[[], None]) -> str:
    """Make one setting; return a sentence when the server refuses it."""
    try:
        step()
    except ClientError as exc:
        if http_status(exc) >= 500 and http_status(exc) != 501:  # RFC 9110: 501 is a refusal, not a failure
            raise
        return f"{what} could not be turned on: the server answered {http_status(exc)}."
    return ""


def _keep_versions(client: Any, bucket: str) -> None:
    if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def _encrypt(client: Any, bucket: str) -> None:
    try:
        client.get_bucket_encryption(Bucket=bucket)
    except ClientError as exc:
        if http_status(exc) != 404:
            raise
    else:
        return
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def _block_public_access(client: Any, bucket: str) -> None:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, True))


def _retain(client: Any, bucket: str, mode: RetentionMode, days: int) -> None:
    there = client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    default = there.get("Rule", {}).get("DefaultRetention", {})
    days_there = default.get("Days", 0) + 365 * default.get("Years", 0)
    strict_there = default.get("Mode") == RetentionMode.COMPLIANCE
    wanted = {
        "Mode": (RetentionMode.COMPLIANCE if strict_there else mode).value,
        "Days": max(days, days_there),
    }
    if (wanted["Mode"], wanted["Days"]) != (default.get("Mode"), days_there):
        client.put_object_lock_configuration(
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": wanted}},
        )
