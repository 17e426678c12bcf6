"""The JSON Schema of what ``archiver verify --json`` prints, published in ``docs/verification.schema.json``.

Source: JSON Schema 2020-12.
"""

from __future__ import annotations

import json
from typing import Any

from manifests.findings import Area, Code, Severity
from manifests.report import REPORT_FORMAT, RESULT_FORMAT, Verdict
from manifests.schema import DIALECT

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_VERDICT = {"enum": [verdict.value for verdict in Verdict]}


def verification_schema() -> dict[str, Any]:
    """The schema; every field is required and no other is allowed."""
    reports = {"type": "array", "items": {"$ref": "#/$defs/report"}}
    whole = {
        "format": {"const": RESULT_FORMAT},
        "overall": _VERDICT
        | {"description": "passed only when every report passed and nothing is unfinished"},
        "reports": reports | {"description": "one for each capture"},
        "logs": reports | {"description": "one for each custody log that was checked"},
        "unfinished": _list("IDs of captures without a record: broken off, or the record was removed"),
    }
    definitions = {"report": _object(_report()), "finding": _object(_finding())}
    return {
        "$schema": DIALECT,
        "$id": f"urn:{RESULT_FORMAT}",
        "title": RESULT_FORMAT,
        **_object(whole),
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(verification_schema(), indent=2, ensure_ascii=False) + "\n"


def _report() -> dict[str, Any]:
    return {
        "format": {"const": REPORT_FORMAT},
        "subject": _TEXT | {"description": "the capture, by its ID where one is known, or the log"},
        "capture_id": _or_null(_TEXT),
        "incident_ids": _list("incidents that the record names"),
        "record_sha256": _or_null({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        "overall": _VERDICT | {"description": "failed when any verdict failed, passed when all passed"},
        "verdicts": _object({area.value: _VERDICT for area in Area}),
        "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}},
        "findings_left_out": {
            "type": "object",
            "additionalProperties": _COUNT,
            "description": "how many more there are of a kind, by its code",
        },
        "proven": _list("what was shown, one sentence each"),
        "unchecked": _list("what was not looked at and why, one sentence each"),
        "file_count": _COUNT | {"description": "files whose bytes were digested"},
        "file_bytes": _COUNT | {"description": "their length together"},
    }


def _finding() -> dict[str, Any]:
    return {
        "code": {"enum": [code.code for code in Code]},
        "number": {"enum": [code.number for code in Code]},
        "severity": {"enum": [severity.value for severity in Severity]},
        "area": {"enum": [area.value for area in Area], "description": "the verdict that it bears on"},
        "subject": _TEXT | {"description": "what it is about, as kind and name"},
        "text": _TEXT | {"description": "what failed"},
        "expected": _TEXT | {"description": "the trusted value, or empty"},
        "got": _TEXT | {"description": "what was found, or empty"},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(description: str) -> dict[str, Any]:
    return {"type": "array", "items": _TEXT, "description": description}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"type": [schema["type"], "null"]}
