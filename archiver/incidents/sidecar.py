"""The file beside a register: incidents in full, and the IDs that were ever given. Its form only, no I/O.

``docs/register-sidecar.schema.json`` is made from these types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from archiver.incidents.quarters import section_and_ordinal
from archiver.incidents.rows import Unreadable

VERSION = 1
ENDING = ".incidents.json"


class KeptLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link as the document has it; *url* is empty where the target is lost, *target* as written."""

    anchor: str
    url: str
    target: str
    role: str
    note: str


class KeptIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An incident with its full text; its paragraphs are divided by line feeds."""

    incident_id: str
    section: Annotated[int, msgspec.Meta(ge=0)]
    month: Annotated[str, msgspec.Meta(pattern=r"^(20\d\d-(0[1-9]|1[0-2]))?$")]
    title: str
    text: str
    links: tuple[KeptLink, ...]
    outlets: tuple[str, ...]
    platforms: tuple[str, ...]


class KeptSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section: number, heading, and what stands below the heading and is no incident."""

    number: int
    title: str
    introduction: str


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document that was imported last."""

    name: str
    kind: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies beside a register.

    *incidents* are those of the document as it is; *gone* those that an earlier one had, whose IDs are never
    given to another; *outside* the paragraphs that are no incidents.
    """

    format: Literal["archiver-register"]
    version: Literal[1]
    country: str
    quarter: str
    source: Source
    sections: tuple[KeptSection, ...]
    incidents: tuple[KeptIncident, ...]
    gone: tuple[KeptIncident, ...]
    outside: tuple[str, ...]


def sidecar_path(register: Path) -> Path:
    """Return where the sidecar of a register lies: ``2026-q1.csv`` has ``2026-q1.incidents.json``."""
    return register.with_name(register.stem + ENDING)


def decode_sidecar(data: bytes) -> Sidecar:
    """Return a sidecar from its JSON.

    Raises:
        Unreadable: It is none.
    """
    try:
        return msgspec.json.decode(data, type=Sidecar)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Unreadable(f"expected a sidecar of a register: {error}", "restore it from a copy") from error


def encode_sidecar(sidecar: Sidecar) -> bytes:
    """Return the JSON of a sidecar, indented, one line feed at its end."""
    return msgspec.json.format(msgspec.json.encode(sidecar), indent=2) + b"\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a sidecar."""
    return msgspec.json.schema(Sidecar)


def highest_ordinals(sidecar: Sidecar) -> dict[int, int]:
    """Return the highest ordinal ever given in each section, by the IDs themselves."""
    highest: dict[int, int] = {}
    for one in (*sidecar.incidents, *sidecar.gone):
        if found := section_and_ordinal(one.incident_id):
            highest[found[0]] = max(found[1], highest.get(found[0], 0))
    return highest


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
