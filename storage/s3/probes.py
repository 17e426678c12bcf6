"""What one S3 server honours, found out by asking it once, with two small objects that stay.

The objects are ``.probe/a/b`` and ``.probe/a.b`` in the store's prefix: names that are no keys, so
that no listing shows them. They stay because a locked bucket would keep a new version of each trial.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from storage.retention import MAX_RETENTION_DAYS, RetentionMode, RetentionRule
from storage.s3.errors import error_code, http_status

_NESTED = ".probe/a/b"
_PLAIN = ".probe/a.b"
_TEXT = b"This object shows which promises the server keeps. It is no evidence.\n"
_REFUSALS = frozenset({400, 405, 412, 501})


def creates_only(client: Any, bucket: str, prefix: str) -> bool:
    """Tell whether a second put with ``If-None-Match: *`` is refused, as S3 does since 2024.

    One writer after another: it does not show what racing writers get.
    """
    _put_new(client, bucket, prefix + _PLAIN)
    first = _put_new(client, bucket, prefix + _NESTED)
    return "PreconditionFailed" in {first, first or _put_new(client, bucket, prefix + _NESTED)}


def replaces_only(client: Any, bucket: str, prefix: str) -> bool:
    """Tell whether a put with the wrong ``If-Match`` is refused."""
    try:
        client.put_object(Bucket=bucket, Key=prefix + _NESTED, Body=_TEXT, IfMatch=f'"{"0" * 32}"')
    except ClientError as exc:
        if http_status(exc) in _REFUSALS:
            return error_code(exc) == "PreconditionFailed"
        raise
    return False


def lists_in_order(client: Any, bucket: str, prefix: str) -> bool:
    """Tell whether keys are listed in bytewise order, as far as the probe's objects are there to show it.

    SeaweedFS lists folder by folder: ``a/b`` before ``a.b``.
    """
    answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}.probe/", MaxKeys=10)
    keys = [item["Key"] for item in answer.get("Contents", ())]
    return keys == [prefix + _PLAIN, prefix + _NESTED]


def keeps_versions(client: Any, bucket: str) -> bool:
    """Tell whether the bucket keeps versions; no, where we may not ask."""
    try:
        return bool(client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled")
    except ClientError as exc:
        return _unknown(exc)


def locks(client: Any, bucket: str) -> bool:
    """Tell whether the bucket has Object Lock; no, where we may not ask."""
    try:
        answer = client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as exc:
        return _unknown(exc)
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def default_rule(client: Any, bucket: str) -> RetentionRule | None:
    """Return what a bucket with Object Lock keeps new objects by; None for nothing or no answer."""
    try:
        answer = client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as exc:
        _unknown(exc)
        return None
    default = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
    if not default:
        return None
    days = default.get("Days", 0) + 365 * default.get("Years", 0)
    return RetentionRule(RetentionMode(default["Mode"]), min(days, MAX_RETENTION_DAYS))


def _unknown(exc: ClientError) -> bool:
    """False for a server that knows no such setting or will not tell; a failing server is no answer."""
    if error_code(exc) == "NoSuchBucket" or http_status(exc) not in {400, 403, 404, 405, 501}:
        raise exc
    return False


def _put_new(client: Any, bucket: str, key: str) -> str:
    """Put a new object; return the code of a refusal, or nothing when it was written."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=_TEXT, IfNoneMatch="*")
    except ClientError as exc:
        if http_status(exc) in _REFUSALS:
            return error_code(exc)
        raise
    return ""
