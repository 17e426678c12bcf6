"""How a request that is no GET is told apart in the index.

Source: Webrecorder, Request Body Canonicalization (``__wb_method``), as pywb and wabac.js look it up.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote_plus

from archiver.capture.recorder.exchange import Exchange

MAX_QUERY_CHARS = 4096


def method_query(exchange: Exchange) -> str:
    """Return ``__wb_method=POST&...`` for *exchange*, or nothing for GET.

    Form bodies become their fields, other bodies ``__wb_post_data=<base64>``; what is longer than
    ``MAX_QUERY_CHARS`` is cut, as the readers cut theirs.
    """
    if exchange.method == "GET":
        return ""
    query = f"__wb_method={exchange.method}"
    body = exchange.request_body
    if body is None or exchange.method not in {"POST", "PUT"}:
        return query
    body.file.seek(0)
    data = body.file.read(MAX_QUERY_CHARS)
    if b"application/x-www-form-urlencoded" in exchange.request_head.lower():
        fields = unquote_plus(data.decode("utf-8", "replace"))
    else:
        fields = "__wb_post_data=" + base64.b64encode(data).decode("ascii")
    return f"{query}&{fields[:MAX_QUERY_CHARS]}" if data else query
