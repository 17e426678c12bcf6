"""Keys of a bucket in bytewise order, also from servers that list in another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from storage.errors import StoreUnavailable
from storage.interface import ObjectInfo
from storage.keys import is_key, shown
from storage.s3.errors import s3_errors


@dataclass(frozen=True, slots=True)
class Listing:
    """Lists what is under one prefix of one bucket.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket.
        root: Prefix in the bucket that keys are relative to; empty, or ending in ``/``.
    """

    client: Any
    bucket: str
    root: str

    def in_server_order(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what starts with *prefix* as the server lists it, which must be bytewise. Flat memory.

        Raises:
            StoreUnavailable: The server left the order; what was yielded is right, but not all.
        """
        last = ""
        for page in self._pages(prefix):
            for info in self._objects(page):
                if info.key <= last:
                    raise StoreUnavailable(
                        f"store s3://{self.bucket}: listing out of order: "
                        f"expected a key after {shown(last)}, got {shown(info.key)}",
                        code="E645",
                        hint="report the server's name and version; its keys cannot be listed safely",
                    )
                last = info.key
                yield info

    def by_folder(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what starts with *prefix* in bytewise order, one request and one sort for each folder."""
        pending = self._level(prefix)
        while pending:
            key, info = pending.pop()
            if info is None:
                pending += self._level(key)
            else:
                yield info

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the next segments under *prefix*, in order."""
        names = {key for key, info in self._level(prefix) if info is None}
        return (key.removeprefix(prefix)[:-1] for key in sorted(names))

    def _level(self, prefix: str) -> list[tuple[str, ObjectInfo | None]]:
        """Objects and folders (final ``/``, no info) directly under *prefix*, the first one last."""
        found: dict[str, ObjectInfo | None] = {}
        for page in self._pages(prefix, Delimiter="/"):
            found.update((info.key, info) for info in self._objects(page))
            folders = (item["Prefix"].removeprefix(self.root) for item in page.get("CommonPrefixes", ()))
            found.update((folder, None) for folder in folders if is_key(folder[:-1]))
        return sorted(found.items(), reverse=True)

    def _objects(self, page: dict[str, Any]) -> Iterator[ObjectInfo]:
        for item in page.get("Contents", ()):
            key = item["Key"].removeprefix(self.root)
            if is_key(key):
                yield ObjectInfo(key=key, size_bytes=int(item["Size"]), etag=item.get("ETag", ""))

    def _pages(self, prefix: str, **arguments: str) -> Iterator[dict[str, Any]]:
        while True:
            with s3_errors(f"store s3://{self.bucket}"):
                page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.root + prefix, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]
