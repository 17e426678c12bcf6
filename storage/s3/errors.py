"""What S3 servers and boto3 say, in the words of a store. No text of the other side is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from storage.errors import (
    DigestMismatch,
    InvalidRange,
    ObjectConflict,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from storage.keys import shown

_Cause = tuple[type[StoreError], str, str, str]

_NO_BUCKET: Final[_Cause] = (
    StoreRefused,
    "E630",
    "a bucket, got none of that name",
    "check the name and the endpoint, or create the bucket",
)
_DAMAGED: Final[_Cause] = (
    DigestMismatch,
    "E631",
    "the announced checksum at the server, got another one",
    "the bytes were damaged on the way and nothing was stored; run it again",
)
_BAD_CREDENTIALS: Final[_Cause] = (
    StoreRefused,
    "E632",
    "accepted credentials, got them refused",
    "check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
)
_SLOW_DOWN: Final[_Cause] = (
    StoreUnavailable,
    "E633",
    "an answer, got a server that is overloaded or failing",
    "run it again later",
)
_CODES: Final[dict[str, _Cause]] = {
    "NoSuchKey": (ObjectMissing, "E602", "an object, got none", "check the key, or list the store"),
    "NoSuchVersion": (ObjectMissing, "E602", "an object version, got none", "check the version"),
    "404": (ObjectMissing, "E602", "an object, got none", "check the key, or list the store"),
    "NoSuchBucket": _NO_BUCKET,
    "InvalidRange": (InvalidRange, "E606", "a range that begins in the object, got one past its end", ""),
    "BadDigest": _DAMAGED,
    "InvalidDigest": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
    "XAmzContentChecksumMismatch": _DAMAGED,
    "InvalidAccessKeyId": _BAD_CREDENTIALS,
    "SignatureDoesNotMatch": _BAD_CREDENTIALS,
    "ExpiredToken": _BAD_CREDENTIALS,
    "InvalidToken": _BAD_CREDENTIALS,
    "RequestTimeTooSkewed": (
        StoreRefused,
        "E634",
        "the server's time within 15 minutes, got a larger difference",
        "set this machine's clock",
    ),
    "PreconditionFailed": (ObjectConflict, "E622", "the object as it was read, got another", "read it again"),
    "412": (ObjectConflict, "E622", "the object as it was read, got another", "read it again"),
    "NoSuchUpload": (
        StoreUnavailable,
        "E635",
        "an upload in parts, got it ended by the server",
        "run it again",
    ),
    "EntityTooLarge": (
        StoreRefused,
        "E636",
        "an object the server takes, got one too large",
        "ask the provider",
    ),
    "SlowDown": _SLOW_DOWN,
    "RequestTimeout": _SLOW_DOWN,
}

_FAILURES: Final[dict[type[StoreError], str]] = {
    ObjectMissing: "not in the store",
    ObjectConflict: "changed by somebody else",
    DigestMismatch: "refused by S3",
    InvalidRange: "refused by S3",
    StoreRefused: "refused by S3",
    StoreUnavailable: "S3 failed",
}


@contextmanager
def s3_errors(subject: str) -> Iterator[None]:
    """Turn what boto3 raises inside into a store error about *subject*, such as ``object <key>``."""
    try:
        yield
    except ClientError as exc:
        kind, code, expected, hint = _cause(exc)
        raise kind(f"{subject}: {_FAILURES[kind]}: expected {expected}", code=code, hint=hint) from exc
    except FlexibleChecksumError as exc:
        raise DigestMismatch(
            f"{subject}: damaged in the store or on the way: expected the checksum kept with it, got another",
            code="E637",
            hint="read it again; if it stays so, restore it from another copy",
        ) from exc
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise StoreRefused(
            f"{subject}: no credentials: expected an access key and a secret, got none",
            code="E632",
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run "
            "`keyring set archiver-s3 default` and enter ACCESS_KEY_ID:SECRET",
        ) from exc
    except SSLError as exc:
        raise StoreUnavailable(
            f"{subject}: TLS failed: expected a certificate that this machine trusts, got an error",
            code="E638",
            hint="check the endpoint, and AWS_CA_BUNDLE for a server with a certificate of one's own",
        ) from exc
    except (BotoCoreError, HTTPError, ConnectionError, TimeoutError) as exc:
        raise StoreUnavailable(
            f"{subject}: server out of reach: expected an answer, got {type(exc).__name__}",
            code="E639",
            hint="check the network and AWS_ENDPOINT_URL, then run it again",
        ) from exc


def error_code(exc: ClientError) -> str:
    """Error code of S3's answer, or the HTTP status where there was no body (HEAD)."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def http_status(exc: ClientError) -> int:
    """HTTP status of S3's answer."""
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def was_retried(exc: ClientError) -> bool:
    """Tell whether an earlier try of the same request may have done its work, its answer lost."""
    return int(exc.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) > 0


def _cause(exc: ClientError) -> _Cause:
    code, status = error_code(exc), http_status(exc)
    if code in _CODES:
        return _CODES[code]
    got = f"{status} {shown(code)[:40]}"
    if status in {401, 403}:
        return StoreRefused, "E640", f"permission, got {got}", "ask for the rights on this bucket and prefix"
    if status >= 500:  # RFC 9110 section 15.6
        return StoreUnavailable, "E633", f"an answer, got {got}", "run it again later"
    return (
        StoreRefused,
        "E641",
        f"an accepted request, got {got}",
        "check the endpoint and the bucket's settings",
    )
