"""A proxy between our S3 client and the real server that fails on request."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the server said, for a fault to change.

    Args:
        status: HTTP status.
        headers: As sent.
        body: All of it.
        cut_at: Send only so many bytes of the body, then close the connection; None: all.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut_at: int | None = None


@dataclass
class Fault:
    """Something that goes wrong with the next *times* requests of *method* whose path holds *part*.

    Args:
        before: Gives an answer without asking the server.
        after: Changes the server's answer; returns None to close the connection instead.
        cut_request_at: Read only so many bytes of the request's body, then close the connection.
    """

    method: str
    part: str
    before: Callable[[], Answer | None] | None = None
    after: Callable[[Answer], Answer | None] = field(default=lambda answer: answer)
    times: int = 1
    cut_request_at: int | None = None


def error(status: int, code: str) -> Callable[[], Answer]:
    """An S3 error that the server never sent."""
    body = f"<Error><Code>{code}</Code><Message>secret-0001 from the other side</Message></Error>".encode()
    return lambda: Answer(
        status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body
    )


def lost(_: Answer) -> None:
    """The server did its work, and its answer never arrived."""


def cut_at(count: int) -> Callable[[Answer], Answer]:
    """The connection ends after *count* bytes of the body."""
    return lambda answer: Answer(answer.status, answer.headers, answer.body, count)


def with_header(name: str, value: str) -> Callable[[Answer], Answer]:
    """One header of the answer is another."""
    return lambda answer: Answer(
        answer.status, [(n, value if n.lower() == name else v) for n, v in answer.headers], answer.body
    )


def without_header(name: str) -> Callable[[Answer], Answer]:
    """One header of the answer is missing."""
    return lambda answer: Answer(
        answer.status, [h for h in answer.headers if h[0].lower() != name], answer.body
    )


def damaged(answer: Answer) -> Answer:
    """One bit of the body is another."""
    return Answer(answer.status, answer.headers, bytes([answer.body[0] ^ 1]) + answer.body[1:])


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests; ``faults`` are used up in order; ``seen`` lists method and path of each request."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.method == method and fault.part in path and fault.times:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyProxy

    def _forward(self) -> None:
        fault = self.server.next_fault(self.command, self.path) or Fault(self.command, self.path)
        length = int(self.headers.get("Content-Length", 0))
        if fault.cut_request_at is not None:
            self.rfile.read(min(length, fault.cut_request_at))
            self.close_connection = True
            return
        body = self.rfile.read(length)
        answer = fault.before() if fault.before else fault.after(self._ask(body))
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut_at])
        self.close_connection = answer.cut_at is not None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815  # http.server wants these names

    def _ask(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        dropped = {"transfer-encoding", "connection", "content-length"}
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in dropped]
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        connection.close()
        return Answer(answer.status, [*kept, ("Content-Length", length or "0")], content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy_to(upstream: str):
    """Run a proxy in front of *upstream* in threads of this process."""
    with FaultyProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
