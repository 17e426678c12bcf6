"""The JSON Schema of the evidence record, made from its types and their docstrings.

A schema cannot say everything: canonical form and the rules between fields are in ``record_rules`` and
``codec``. Source: JSON Schema 2020-12.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import msgspec

from manifests import record, record_network, record_process
from manifests.record import FORMAT, EvidenceRecord
from manifests.record_types import Part

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FIELD = re.compile(r"^    (\w+): (.+(?:\n        .+)*)", re.MULTILINE)


def json_schema() -> dict[str, Any]:
    """The schema, with each field's description and every field required."""
    schema: dict[str, Any] = msgspec.json.schema(EvidenceRecord)
    for name, definition in schema["$defs"].items():
        summary, fields = _documented(_part(name))
        definition["description"] = summary
        definition["required"] = list(definition["properties"])
        for field, value in definition["properties"].items():
            value.pop("default", None)
            value["description"] = fields[field]
    return {"$schema": DIALECT, "$id": f"urn:{FORMAT}", "title": FORMAT, **schema}


def schema_text() -> str:
    """The schema as it is published in ``docs/evidence-record.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _part(name: str) -> type[Part]:
    modules = (record, record_network, record_process)
    found: type[Part] = next(getattr(module, name) for module in modules if hasattr(module, name))
    return found


def _documented(part: type[Part]) -> tuple[str, dict[str, str]]:
    """Summary and field descriptions from a docstring in Google's form."""
    text, _, arguments = inspect.cleandoc(part.__doc__ or "").partition("\n\nArgs:\n")
    fields = {name: " ".join(words.split()) for name, words in _FIELD.findall(arguments)}
    return " ".join(text.split()), fields
