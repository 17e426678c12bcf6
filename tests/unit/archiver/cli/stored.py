"""Captures put into a store by hand, whole as the verifier sees them, except that they hold no package."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import blake3
import msgspec

from manifests.codec import encode
from manifests.record import Outcome, RegisterCell, RegisterRow, Seed, Target
from storage.folder import FolderStore
from tests.unit.manifests.records import artifact, record

PNG = b"\x89PNG\r\n\x1a\n not a real picture"
HTML = b"<script>alert(1)</script>"


def capture_id(number: int) -> str:
    return f"20261124t08120{number}z-7f3k2m9qx4"


def listed(path, role, media_type, data, **changes):
    facts = {"path": path, "role": role, "media_type": media_type, "bytes": len(data)}
    facts |= {"sha256": hashlib.sha256(data).hexdigest(), "blake3": blake3.blake3(data).hexdigest()}
    return artifact(**(facts | changes))


@dataclass
class Stored:
    root: Path

    def file(self, number: int, name: str) -> Path:
        return self.root / "captures" / capture_id(number) / name

    def overwrite(self, number: int, name: str, data: bytes) -> None:
        path = self.file(number, name)
        path.chmod(0o600)
        path.write_bytes(data)


def put(
    root: Path,
    number: int,
    *,
    incident="KZ-1",
    url="https://a.test/",
    kind="captured",
    title="Title",
    vantage=None,
) -> None:
    store = FolderStore(root)
    one = capture_id(number)
    cells = (RegisterCell(column="url", value=url),)
    row = RegisterRow(register="r.csv", register_sha256="0" * 64, line=number + 1, cells=cells)
    files = {"screenshot-full.png": PNG, "dom.html": HTML}
    made = record(
        capture_id=one,
        incident_ids=(incident,),
        seed=Seed(url=url, row=row),
        target=Target(url=url, final_url=url, http_status=200, title=title),
        outcome=Outcome(kind=kind, reason="the page answered", confidence_percent=90),
        environment=msgspec.structs.replace(record().environment, vantage=vantage),
        artifacts=(
            listed("screenshot-full.png", "screenshot-full", "image/png", PNG),
            listed("dom.html", "dom", "text/html", HTML, holds_secrets=True),
        ),
    )
    for name, data in files.items():
        store.put(f"captures/{one}/{name}", data)
    store.put(f"incidents/{incident}/{one}.json", b"{}")
    store.put(f"captures/{one}/record.json", encode(made))
