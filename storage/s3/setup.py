"""Makes or completes a bucket for evidence: versions, locks, retention, encryption, no public access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from storage.retention import RetentionRule
from storage.s3.client import DEFAULT_REGION
from storage.s3.errors import error_code, http_status, s3_errors
from storage.s3.probes import default_rule


def prepare_bucket(client: Any, bucket: str, rule: RetentionRule | None) -> list[str]:
    """Create *bucket* if it is missing and set it up; what it has already is made stricter, never looser.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket.
        rule: Default retention for every new object, or None for none. Compliance cannot be undone.

    Returns:
        One sentence for each setting that could not be made, empty when all were.

    Raises:
        StoreRefused, StoreUnavailable: The bucket cannot be made or reached.
    """
    with s3_errors(f"store s3://{bucket}"):
        _make(client, bucket)
        steps = [
            _try("Versioning", lambda: _keep_versions(client, bucket)),
            _try("Encryption", lambda: _encrypt(client, bucket)),
            _try("Blocking public access", lambda: _block_public_access(client, bucket)),
        ]
        if rule is not None:
            steps.append(_try("Default retention", lambda: _retain(client, bucket, rule)))
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


def _retain(client: Any, bucket: str, rule: RetentionRule) -> None:
    client.get_object_lock_configuration(Bucket=bucket)  # some servers take a rule where nothing is locked
    there = default_rule(client, bucket)
    wanted = rule.joined(there)
    if wanted != there:
        default = {"Mode": wanted.mode.value, "Days": wanted.days}
        client.put_object_lock_configuration(
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}},
        )
