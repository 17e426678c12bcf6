"""S3 Object Lock on the current version of an object."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from storage.errors import StoreRefused
from storage.keys import shown
from storage.retention import Lock, Retention, RetentionMode


def lock_from(head: dict[str, Any]) -> Lock:
    """Lock of the version that a HEAD answered for.

    Source: Amazon S3 API, HeadObject, ``x-amz-object-lock-*``.
    """
    mode, until = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
    held = head.get("ObjectLockLegalHoldStatus") == "ON"
    if not (mode and until):
        return Lock(held=held)
    return Lock(Retention(RetentionMode(mode), until.astimezone(UTC).replace(microsecond=0)), held=held)


def lock_arguments(retention: Retention) -> dict[str, Any]:
    """Arguments of the request that makes an object, so that it is locked from its first moment."""
    return {"ObjectLockMode": retention.mode.value, "ObjectLockRetainUntilDate": retention.retain_until}


def put_retention(client: Any, place: dict[str, str], retention: Retention) -> None:
    """Set the retention of one version; lengthening needs no bypass, and none is ever asked for."""
    client.put_object_retention(
        **place, Retention={"Mode": retention.mode.value, "RetainUntilDate": retention.retain_until}
    )


def put_hold(client: Any, place: dict[str, str], *, held: bool) -> None:
    """Lay a legal hold on one version, or take it off."""
    client.put_object_legal_hold(**place, LegalHold={"Status": "ON" if held else "OFF"})


def require_locks(key: str, *, has_locks: bool) -> None:
    """Refuse to lock in a bucket without Object Lock, where the server might say yes and do nothing."""
    if not has_locks:
        raise StoreRefused(
            f"object {shown(key)}: cannot be locked: expected a bucket with Object Lock, got one without",
            code="E655",
            hint="Object Lock is turned on when a bucket is made: use another bucket, or archiver store init",
        )
