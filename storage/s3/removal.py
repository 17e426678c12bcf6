"""What takes things out of a bucket: versions of one object, uploads that nobody ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.s3.upload import Target, abort


@dataclass(frozen=True, slots=True)
class Versions:
    """Version ids of one object; ``null`` where the bucket keeps none.

    Without these ids a delete only hides a versioned object, and unless all of them go, an older
    version comes to light again.

    Args:
        objects: Of versions with bytes.
        markers: Of delete markers.
    """

    objects: list[str]
    markers: list[str]


def versions(client: Any, bucket: str, name: str) -> Versions:
    """Return every version of the object *name*."""
    found = Versions([], [])
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=name):
        for kind, ids in (("Versions", found.objects), ("DeleteMarkers", found.markers)):
            ids += [item["VersionId"] for item in page.get(kind, ()) if item["Key"] == name]
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
