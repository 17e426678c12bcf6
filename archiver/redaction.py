"""What must not be stored in clear of a capture behind a login, found and taken out. Rules only, no I/O.

Known secrets are the values that the session brought (cookies, local storage) and those that the wire shows
(``Cookie``, ``Set-Cookie``, ``Authorization`` and their like, hidden fields of forms, members that are named
``token``). They are looked for as they are and as servers and scripts write them: percent-encoded, escaped
for JSON and HTML, in hex, in Base64 at any offset. Header fields that carry credentials, request bodies and
WebSocket messages are taken out whatever they hold.

Values under ``MIN_CHARS`` and plain lower-case words are not looked for in bodies: a cookie that says ``ru``
would blacken every page. Their header fields are taken out all the same.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from archiver.capture.recorder.coding import CodingError
from archiver.capture.recorder.exchange import Body, Exchange
from archiver.formats.payload import entity

MIN_CHARS = 8
MIN_INSISTED_CHARS = 3
MAX_SECRETS = 2_000
MAX_LEARNT_BYTES = 8 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""A longer body that may hold a secret is taken out whole."""
REMOVED = b"[removed]"
_WORD = re.compile(r"[a-z]+([-_. ][a-z]+)*|[0-9.]{1,9}")
_CREDENTIALS = re.compile(
    rb"(?im)^(cookie|set-cookie|authorization|proxy-authorization|[a-z0-9-]*(?:token|csrf|xsrf|session|secret"
    rb"|api-key|auth|claim)[a-z0-9-]*):[ \t]*([^\r\n]*)"
)
_PARAMETER = re.compile(
    r"(?i)([?&#;][^=&#;]*(?:token|session|sid|auth|secret|passw|csrf|xsrf|otp)[^=&#;]*=)([^&#;\s]+)"
)
_HIDDEN = re.compile(
    r"(?is)<input\b[^>]*\btype\s*=\s*[\"']?hidden\b[^>]*>|<meta\b[^>]*\b(?:csrf|xsrf|token)[^>]*>"
)
_VALUE = re.compile(r"(?is)\b(?:value|content)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_MEMBER = re.compile(
    r"(?i)[\"'][a-z0-9_.$-]*(?:token|csrf|xsrf|secret|dtsg|session_?id|jwt|password)[a-z0-9_.$-]*[\"']"
    r"\s*:\s*\"((?:[^\"\\]|\\.){8,4000})\""
)
_STORED = re.compile(
    r"(?is)Storage\s*\.\s*setItem\(\s*[\"'][^\"']{1,200}[\"']\s*,\s*(\"(?:[^\"\\]|\\.){8,4000}\"|'[^'\\]{8,4000}')"
)
_TEXT_TYPE = re.compile(rb"(?im)^content-type:[ \t]*(?:text/|application/(?:json|javascript|xhtml|xml))")
_FRAMING = re.compile(rb"(?im)^(content-encoding|transfer-encoding|content-length):[^\r\n]*\r?\n")


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that was taken out.

    Args:
        where: On what, such as ``response body of https://...``.
        value: What it was; of a body its SHA-256 in hex.
    """

    where: str
    value: str


@dataclass
class Secrets:
    """Values that must not be stored in clear.

    Args:
        values: As they are.
    """

    values: set[str] = field(default_factory=set)
    _forms: list[bytes] | None = None

    def add(self, values: Iterable[str]) -> None:
        """Take more values; what is too short or too plain to be told from other text is left out."""
        for value in values:
            for one in {value, unquote(value)}:
                if len(one) >= MIN_CHARS and not _WORD.fullmatch(one) and len(self.values) < MAX_SECRETS:
                    self.values.add(one)
        self._forms = None

    def insist(self, values: Iterable[str]) -> None:
        """Take values that must not be told however plain they look, from ``MIN_INSISTED_CHARS`` on."""
        self.values |= {one for one in values if len(one) >= MIN_INSISTED_CHARS}
        self._forms = None

    def without(self, pattern: re.Pattern[str]) -> Secrets:
        """Return these values but those that *pattern* matches whole."""
        return Secrets({one for one in self.values if not pattern.fullmatch(one)})

    def learn(self, exchange: Exchange) -> None:
        """Take the values that the heads of *exchange* show."""
        for head in (exchange.request_head, exchange.response_head or b"", *exchange.interim_heads):
            for name, value in _CREDENTIALS.findall(head):
                self.add(_credential_values(name.lower(), value.decode("latin-1")))
        self.add(unquote(found[1]) for found in _PARAMETER.findall(exchange.url))

        if (sent := exchange.request_body) and sent.size_bytes <= MAX_LEARNT_BYTES:
            sent.file.seek(0)
            text = sent.file.read().decode("utf-8", "replace")
            self.add(unquote(found[1]) for found in _PARAMETER.findall(f"&{text}"))
            self.add(_named_values(text))
        plain = _whole(exchange) if exchange.response_body and _is_text(exchange.response_head) else None
        if plain and len(plain) <= MAX_LEARNT_BYTES:
            text = plain.decode("utf-8", "replace")
            self.add(_named_values(text))
            self.add(_stored_values(text))

    def scrub(self, data: bytes) -> bytes:
        """Return *data* with every form of every secret blackened, of the same length."""
        for form in self._all_forms():
            if form in data:
                data = data.replace(form, b"*" * len(form))
        return data

    def text(self, text: str) -> str:
        """Do the same with text, and with the values of parameters that are named like secrets."""
        blackened = _PARAMETER.sub(lambda found: found[1] + "*" * len(found[2]), text)
        return self.scrub(blackened.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def tree(self, value: Any) -> Any:
        """Do the same with every text in a JSON value, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.tree(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.tree(inner) for inner in value]
        return value

    def are_in(self, data: bytes) -> bool:
        """Tell whether any form of any secret is in *data*."""
        return any(form in data for form in self._all_forms())

    def _all_forms(self) -> list[bytes]:
        if self._forms is None:
            found = {form for value in self.values for form in _forms(value)}
            self._forms = sorted(found, key=lambda form: (-len(form), form))
        return self._forms


def values_of_state(state: dict[str, Any]) -> Iterator[str]:
    """Yield what a stored session holds: values of cookies, and every text in local storage."""
    for cookie in state.get("cookies", []):
        yield cookie.get("value", "")
    for origin in state.get("origins", []):
        for item in origin.get("localStorage", []):
            yield from _leaves(item.get("value", ""))
        yield from _leaves(json.dumps(origin.get("indexedDB", [])))


def _leaves(text: str) -> Iterator[str]:
    """Yield *text*, and the texts in it where it is JSON."""
    yield text
    try:
        tree = json.loads(text)
    except ValueError:
        return
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            yield one
            if one.startswith(("{", "[")):
                yield from _leaves(one)


def _is_text(head: bytes | None) -> bool:
    return (
        re.search(rb"(?im)^content-type:[ \t]*(text/|application/(json|javascript|xhtml|xml))", head or b"")
        is not None
    )


def _named_values(text: str) -> Iterator[str]:
    """Yield what a page holds under names of secrets: hidden fields of forms, meta elements, JSON members."""
    for tag in _HIDDEN.findall(text):
        if found := _VALUE.search(tag):
            yield html.unescape(found[1] or found[2])
    for value in _MEMBER.findall(text):
        yield value
        try:
            yield json.loads(f'"{value}"')
        except ValueError:
            continue


def _stored_values(text: str) -> Iterator[str]:
    """Yield what scripts put into the storage of the browser, as text that they hold."""
    for literal in _STORED.findall(text):
        try:
            yield from _leaves(json.loads(f'"{literal[1:-1]}"' if literal[0] == "'" else literal))
        except ValueError:
            yield literal[1:-1]


def _credential_values(name: bytes, value: str) -> Iterator[str]:
    if name in {b"cookie", b"set-cookie"}:
        pairs = value.split(";") if name == b"cookie" else value.split(";")[:1]
        for pair in pairs:
            yield pair.partition("=")[2].strip().strip('"')
    else:
        yield value
        yield value.rpartition(" ")[2]


def _forms(value: str) -> Iterator[bytes]:
    raw = value.encode("utf-8", "surrogatepass")
    yield raw
    for escaped in (quote(value, safe=""), quote(value), json.dumps(value)[1:-1], html.escape(value)):
        yield escaped.encode()
    yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(value, safe="")).encode()
    yield json.dumps(value, ensure_ascii=False)[1:-1].replace("/", "\\/").encode("utf-8", "surrogatepass")
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for offset in range(3):
        # The characters that hold bits of what is before or behind depend on that, and are left out.
        coded = base64.b64encode(b"\0" * offset + raw)
        inner = coded[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
        if len(inner) >= MIN_CHARS:
            yield inner
            yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def redact(exchange: Exchange, secrets: Secrets) -> tuple[Exchange, list[Removal]]:
    """Return *exchange* without what must not be stored in clear, and what was taken out of it."""
    removed: list[Removal] = []
    where = secrets.text(exchange.url)
    request_head = _head(exchange.request_head, f"request head of {where}", secrets, removed)
    response_head = exchange.response_head
    if response_head is not None:
        response_head = _head(response_head, f"response head of {where}", secrets, removed)
    clear = replace(
        exchange,
        url=where,
        request_head=request_head,
        response_head=response_head,
        interim_heads=[
            _head(head, f"interim head of {where}", secrets, removed) for head in exchange.interim_heads
        ],
    )
    if exchange.request_body is not None:
        removed.append(Removal(f"request body of {where}", exchange.request_body.sha256))
        clear.request_body = _body(b"")
    if exchange.response_body is not None:
        _redact_response(exchange, clear, secrets, removed)
    return clear, removed


def _redact_response(exchange: Exchange, clear: Exchange, secrets: Secrets, removed: list[Removal]) -> None:
    body = exchange.response_body
    assert body is not None
    where = f"response body of {clear.url}"
    plain = None
    if exchange.protocol != "websocket":
        plain = _whole(exchange)
    if plain is None:
        removed.append(Removal(where, body.sha256))
        clear.response_body = _body(b"")
        clear.response_head = _reframed(clear.response_head, 0)
        return
    body.file.seek(0)
    blackened = secrets.scrub(plain)
    # What is not plain on the wire must hold no secret in its own bytes either.
    if blackened != plain or secrets.are_in(body.file.read(MAX_BODY_BYTES)):
        removed.append(Removal(f"texts in the {where}", sha256(plain).hexdigest()))
        clear.response_body = _body(blackened)
        clear.response_head = _reframed(clear.response_head, len(blackened))
    body.file.seek(0)


def _whole(exchange: Exchange) -> bytes | None:
    """Return the entity of a response, decoded; None when it cannot be read whole."""
    pieces, size = [], 0
    try:
        for piece in entity(exchange):
            size += len(piece)
            if size > MAX_BODY_BYTES:
                return None
            pieces.append(piece)
    except (CodingError, OSError, ValueError):
        return None
    return b"".join(pieces)


def _head(head: bytes, where: str, secrets: Secrets, removed: list[Removal]) -> bytes:
    def take(found: re.Match[bytes]) -> bytes:
        name, value = found[1].decode("latin-1"), found[2].decode("latin-1")
        removed.append(Removal(f"{name.lower()} in the {where}", value))
        return found[1] + b": " + REMOVED

    without = _CREDENTIALS.sub(take, head)
    line, newline, rest = without.partition(b"\n")
    # Only addresses have parameters, and they are text of one byte a character.
    target = secrets.text(line.decode("latin-1")).encode("latin-1", "replace")
    blackened = (
        target
        + newline
        + b"\n".join(
            secrets.text(one.decode("latin-1")).encode("latin-1", "replace") for one in rest.split(b"\n")
        )
    )
    if blackened != without:
        removed.append(Removal(f"texts in the {where}", sha256(head).hexdigest()))
    return blackened


def _reframed(head: bytes | None, size: int) -> bytes | None:
    if not head:
        return head
    bare = _FRAMING.sub(b"", head)
    start, newline, rest = bare.partition(b"\n")
    return start + newline + b"Content-Length: %d\r\n" % size + rest


def _body(data: bytes) -> Body:
    digest = sha256(data).hexdigest()
    return Body(io.BytesIO(data), len(data), digest, digest)
