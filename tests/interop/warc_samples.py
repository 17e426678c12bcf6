"""Exchanges of every kind that the WARC writer must keep, made by hand."""

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

from archiver.capture.recorder.exchange import Body, Exchange
from archiver.formats.cdxj import IndexEntry
from archiver.formats.warc import WarcWriter

AT = datetime(2026, 11, 24, 8, 12, 3, 123456, tzinfo=UTC)
AT_NS = 1_795_507_923_123_456_789
REQUEST = b"GET /page HTTP/1.1\r\nHost: site.test\r\nX-Odd:\t\xff\xfe  two  \r\n\r\n"
HTML = b"<!doctype html><title>\xd0\x96</title>" + b"<p>paragraph</p>" * 400
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX-A: 1\r\nx-a: \xe9\r\n\r\n"


def body(data: bytes, payload: bytes | None = None) -> Body:
    entity = data if payload is None else payload
    digests = (hashlib.sha256(data).hexdigest(), hashlib.sha256(entity).hexdigest())
    return Body(io.BytesIO(data), len(data), *digests, chunked=payload is not None)


def exchange(**changes) -> Exchange:
    facts = {
        "connection": 1,
        "stream": None,
        "url": "https://site.test/page",
        "method": "GET",
        "protocol": "http/1.1",
        "request_head": REQUEST,
        "request_body": None,
        "response_head": OK,
        "response_body": body(HTML),
        "started_at_ns": AT_NS,
        "response_at_ns": AT_NS + 10**6,
        "finished_at_ns": AT_NS + 2 * 10**6,
        "ip": "192.0.2.7",
        "port": 443,
        "tls": True,
    }
    return Exchange(**{**facts, **changes})


def chunked() -> Exchange:
    framed = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
    return exchange(
        url="https://site.test/chunked", response_head=head, response_body=body(framed, b"hello world")
    )


def plain_ones() -> list[Exchange]:
    """Every kind on which warcio's idea of a payload and the standard's agree."""
    moved = b"HTTP/1.1 301 Moved\r\nLocation: /page\r\nContent-Length: 0\r\n\r\n"
    return [
        exchange(),
        exchange(url="https://site.test/moved", response_head=moved, response_body=body(b"")),
        exchange(url="https://site.test/head", method="HEAD", response_head=OK, response_body=None),
        exchange(url="https://site.test/cut", response_body=body(HTML[:300]), truncated="disconnect"),
        exchange(url="https://site.test/h2", protocol="h2", stream=5, notes=["head synthesized from HPACK"]),
        exchange(url="https://site.test/hints", interim_heads=[b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"]),
        exchange(
            url="https://site.test/lost", response_head=None, response_body=None, truncated="disconnect"
        ),
        exchange(
            url="https://site.test/form",
            method="POST",
            request_head=b"POST /form HTTP/1.1\r\nHost: site.test\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n",
            request_body=body(b"a=1&b=%D0%96"),
        ),
        exchange(url="https://site.test/\xd0\xbf\xd1\x83\xd1\x82\xd1\x8c?q=a b", ip="2001:db8::7"),
        exchange(
            url="https://site.test/br",
            response_head=b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Type: text/html\r\n\r\n",
            response_body=body(bytes.fromhex("8b0b8068656c6c6f20776f726c6420696e2062726f746c6903")),
        ),
    ]


def write_warc(path: Path, exchanges: list[Exchange]) -> list[IndexEntry]:
    with WarcWriter(path, filename="data.warc.gz", info={"software": "archiver"}, created_at=AT) as writer:
        entries = [
            entry
            for one in exchanges
            for entry in writer.write_exchange(one, tls_version="tls/1.3", cipher="TLS_AES_128_GCM_SHA256")
        ]
        entries.append(
            writer.write_resource("urn:fullPage:https://site.test/page", "image/png", b"\x89PNG", AT)
        )
    return entries
