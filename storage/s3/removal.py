"""What takes things out of a bucket: versions of one object, uploads that nobody ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from storage.s3.upload import Target, abort


def delete_versions(client: Any, bucket: str, name: str) -> None:
    """Delete every version of the object *name* and its delete markers, the newest first.

    Without the version ids S3 would only hide a versioned object, and without all of them an older
    version would come to light again.
    """
    for version_id in versions(client, bucket, name):
        client.delete_object(Bucket=bucket, Key=name, VersionId=version_id)


def versions(client: Any, bucket: str, name: str) -> list[str]:
    """Version ids of the object *name*, delete markers included; ``null`` where the bucket keeps none."""
    found: list[str] = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=name):
        for kind in ("DeleteMarkers", "Versions"):
            found += [item["VersionId"] for item in page.get(kind, ()) if item["Key"] == name]
    return found


def abort_uploads(client: Any, bucket: str, prefix: str, oldest: datetime) -> int:
    """End the uploads in parts under *prefix* that began before *oldest*; return how many."""
    count = 0
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for upload in page.get("Uploads", ()):
            if upload["Initiated"] < oldest:
                abort(Target(client, bucket, upload["Key"], {}), upload["UploadId"])
                count += 1
    return count
