"""From what a person writes to the store that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import InvalidKey, InvalidStoreUrl, StoreRefused
from storage.folder import FolderStore
from storage.keys import check_key, shown
from storage.retention import RetentionRule

if TYPE_CHECKING:
    from storage.s3 import S3Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# General purpose bucket naming rules of S3; uppercase and underscores were allowed long ago and still exist.
_PROFILE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def open_store(url: str, rule: RetentionRule | None = None) -> FolderStore | S3Store:
    """Return the store that *url* names: a folder's path, or ``s3://bucket`` with an optional prefix.

    Nothing is asked of the disk or the server yet. An S3 store finds its endpoint, region and
    credentials where every AWS tool does: ``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``AWS_REGION`` and
    the like, and its files; then in the keyring. ``s3://NAME@bucket`` has those of the AWS profile NAME,
    so that several stores can lie with several providers. A path is taken as it is, whatever characters are
    in it.

    Args:
        url: What a person writes.
        rule: What each new object is kept by in a bucket with Object Lock. A folder has a rule of its own.

    Raises:
        InvalidStoreUrl: *url* names no store.
        StoreRefused: boto3 is not installed, or the AWS settings are unusable.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _folder(url)
    if scheme[1] != "s3":
        raise _invalid(url, "a path or s3://bucket/prefix", f"scheme {scheme[1]}")
    place, _, prefix = url.removeprefix("s3://").partition("/")
    profile, at, bucket = place.rpartition("@")
    if at and not _PROFILE.fullmatch(profile):
        # Not repeated: it may hold a secret.
        raise _invalid("s3://...@...", "the name of an AWS profile before the @", "something else")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid(url, "a bucket of 3 to 255 letters, digits, dots and hyphens", bucket or "none")
    prefix = prefix.removesuffix("/")
    try:
        return _s3(profile, bucket, check_key(prefix) if prefix else "", rule)
    except InvalidKey as exc:
        raise _invalid(url, "a prefix that is a key", prefix) from exc


def _folder(path: str) -> FolderStore:
    if not path or "\0" in path:
        raise _invalid(
            path, "a path or s3://bucket/prefix", "an empty path" if not path else "a NUL character"
        )
    return FolderStore(Path(path))


def _s3(profile: str, bucket: str, prefix: str, rule: RetentionRule | None) -> S3Store:
    try:
        from storage.s3 import S3Store, connect  # noqa: PLC0415  # a folder works without boto3
    except ModuleNotFoundError as exc:
        raise StoreRefused(
            f"store s3://{bucket}: cannot be opened: expected the package boto3, got none installed",
            code="E623",
            hint="pip install boto3",
        ) from exc
    return S3Store(bucket, prefix, connect(profile), rule, profile)


def _invalid(url: str, expected: str, got: str) -> InvalidStoreUrl:
    return InvalidStoreUrl(
        f"store {shown(url)}: names no store: expected {expected}, got {shown(got)}",
        code="E624",
        hint="give a folder such as ./archive, or s3://bucket/prefix",
    )
