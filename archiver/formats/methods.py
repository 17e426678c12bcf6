"""How the index tells a request that is no GET from a GET of the same URL.

Source: Webrecorder, Request Body Canonicalization, as cdxj-indexer, pywb and wabac.js apply it.
Multipart bodies, which those take apart field by field, are indexed as opaque data here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus, urlencode

from archiver.capture.recorder.exchange import Exchange
from archiver.formats.fields import media_type

MAX_QUERY_CHARS = 4096
MAX_BODY_BYTES = 64 * 1024


def request_query(exchange: Exchange) -> str:
    """Return the body of a POST or PUT as a query string, at most ``MAX_QUERY_CHARS``, or nothing.

    Of a body longer than ``MAX_BODY_BYTES`` only so much is looked at.
    """
    body = exchange.request_body
    if body is None or exchange.method not in {"POST", "PUT"}:
        return ""
    body.file.seek(0)
    data = body.file.read(MAX_BODY_BYTES)
    kind = media_type(exchange.request_head)
    try:
        if kind == "application/x-www-form-urlencoded":
            query = unquote_plus(data.decode("utf-8"))
        elif kind in {"application/json", "text/plain"}:
            query = _json_query(data)
        else:
            query = _opaque(data)
    except (ValueError, RecursionError):
        query = "" if kind == "application/json" else _opaque(data)
    return query[:MAX_QUERY_CHARS]


def _opaque(data: bytes) -> str:
    return "__wb_post_data=" + base64.b64encode(data).decode("ascii")


def _json_query(data: bytes) -> str:
    values: dict[str, str] = {}
    seen: dict[str, int] = {}
    for name, value in _leaves(json.loads(data), ""):
        seen[name] = seen.get(name, 0) + 1
        values[name if seen[name] == 1 else f"{name}.{seen[name]}_"] = value
    return urlencode(values)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif name:
        yield name, str(value)
