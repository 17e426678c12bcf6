"""The self-test before a browser build is trusted: a canary page over loopback, held to the byte.

What the recorder relies on can change with any build: that all traffic takes the relay, that secrets are
logged, that workers are no exception. So the first capture with a build is preceded by a page whose every
byte is known, in TLS, in a context of its own. What passed is remembered per build and version of this code.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from playwright.async_api import Error as PlaywrightError

from archiver.capture.recorder.decode import DecodeLimits, decode
from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.resolve import parse_resolve_rule
from archiver.errors import EnvironmentUnfit
from archiver.spool import utc_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Browser

    from archiver.capture.browser import BrowserFacts, BrowserHome
    from archiver.capture.recorder.exchange import Exchange
    from archiver.capture.recorder.relay_client import Relay

    Exchanged = tuple[str, str, bytes, bytes]

HOST = "canary.example"
LOAD_S = 15
KEYS_S = 3
"""The browser writes secrets behind everything else it does."""
KNOWN_NAME = "self-tests.json"
MAX_KNOWN = 20

_POSTED = b"\x00canary\r\n\xff"
_BODIES: dict[str, tuple[bytes, bytes]] = {
    "/": (
        b"text/html",
        (
            b"<!doctype html><title>canary</title><img src=/picture><script>"
            b"const body = Uint8Array.of(0, 99, 97, 110, 97, 114, 121, 13, 10, 255);"
            b"const post = () => fetch('/posted', {method: 'POST', body});"
            b"const done = () => { document.title = 'done' };"
            b"new Worker('/worker').onmessage = () => post().then(done);</script>"
        ),
    ),
    "/picture": (b"image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    "/worker": (b"text/javascript", b"fetch('/asked').then(() => postMessage(1))"),
    "/asked": (b"text/plain", "сот ".encode() * 5000),
    "/posted": (b"text/plain", b"kept"),
}


async def ensure_fit(
    browser: Browser, home: BrowserHome, relay: Relay, facts: BrowserFacts, cache: Path
) -> None:
    """Put the browser to the test unless this build has passed it with this code.

    Args:
        browser: Started.
        home: Of it.
        relay: Started.
        facts: Of the browser.
        cache: Folder where what passed is remembered.

    Raises:
        EnvironmentUnfit: E113, what the recorder held is not what was sent.
    """
    if passed_at(facts.sha256, cache):
        return
    if fault := await find_fault(browser, home, relay):
        raise EnvironmentUnfit(
            f"browser {facts.product} {facts.version}: refused: its self-test expected every byte of a "
            f"known page to be recorded, got {fault}",
            code="E113",
            hint="set `browser` to another build of Chromium, and report this one",
        )
    _remember(facts.sha256, cache)


def passed_at(browser_sha256: str, cache: Path) -> str:
    """Return when a browser build passed the test with this code, or nothing."""
    return _known(cache).get(_key(browser_sha256), "")


async def find_fault(browser: Browser, home: BrowserHome, relay: Relay) -> str:
    """Record the canary page and return what is wrong with the recording, or nothing."""
    with tempfile.TemporaryDirectory(prefix="canary-") as name:
        wire = Path(name) / "wire.bin"
        async with _served(Path(name)) as (port, served):
            policy = RelayPolicy(
                resolve=(parse_resolve_rule(f"{HOST}:443:127.0.0.1:{port}"),),
                allow_private=True,
                allowed_uids=(home.uid,),
            )
            tape = await relay.open_tape(wire, policy)
            try:
                fault = await _load(browser, tape.port)
            finally:
                await tape.close()
        return fault or await _in_time(lambda: asyncio.to_thread(_compare, wire, home.keys, served))


async def _in_time(look: Callable[[], Awaitable[str]]) -> str:
    """Look until nothing is wrong any more, or for ``KEYS_S``."""
    end = asyncio.get_running_loop().time() + KEYS_S
    while (fault := await look()) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return fault


async def _load(browser: Browser, port: int) -> str:
    context = await browser.new_context(
        proxy={"server": f"socks5://127.0.0.1:{port}"}, ignore_https_errors=True
    )
    try:
        async with asyncio.timeout(LOAD_S):
            page = await context.new_page()
            await page.goto(f"https://{HOST}/", wait_until="commit")
            await page.wait_for_function("document.title == 'done'")
    except (PlaywrightError, TimeoutError) as error:
        return f"a page that does not load: {str(error).splitlines()[0][:200] if str(error) else 'no end'}"
    finally:
        with suppress(PlaywrightError):
            await context.close()
    return ""


def _compare(wire: Path, keys: Path, served: list[Exchanged]) -> str:
    held: list[Exchanged] = []

    def take(exchange: Exchange) -> None:
        sent = _read(exchange.request_body)
        held.append((exchange.method, exchange.url, sent, _read(exchange.response_body)))

    decoded = decode(wire, keys, take, DecodeLimits())
    if decoded.problems:
        return decoded.problems[0][:300]
    own = [one for one in served if not one[1].endswith("/favicon.ico")]
    for missing in (Counter(own) - Counter(held)).elements():
        return f"another {missing[0]} {missing[1]} than was sent, or none"
    asked = {url.removeprefix(f"https://{HOST}") for _, url, _, _ in own}
    return f"no request for {min(_BODIES.keys() - asked)}" if _BODIES.keys() - asked else ""


def _read(body: object) -> bytes:
    if body is None:
        return b""
    file = body.file  # type: ignore[attr-defined]
    file.seek(0)
    data: bytes = file.read()
    file.close()
    return data


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[int, list[Exchanged]]]:
    """Serve the canary page; give the port, and what was asked and answered so far."""
    served: list[Exchanged] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path = head.decode("latin-1").split(" ", 2)[:2]
                sent = await reader.readexactly(len(_POSTED)) if method == "POST" else b""
                kind, plain = _BODIES.get(path, (b"text/plain", b""))
                body = gzip.compress(plain, mtime=0)
                served.append((method, f"https://{HOST}{path}", sent, body))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nCache-Control: no-store\r\n"
                    b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=_certified(folder))
    try:
        yield server.sockets[0].getsockname()[1], served
    finally:
        server.close()


def _certified(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "canary.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


@functools.cache
def _code_sha256() -> str:
    """SHA-256 over the sources of this package: a version number says too little of them."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _key(browser_sha256: str) -> str:
    return f"{browser_sha256} {_code_sha256()}"


def _known(cache: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((cache / KNOWN_NAME).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def _remember(browser_sha256: str, cache: Path) -> None:
    known = {**_known(cache), _key(browser_sha256): utc_text(datetime.now(UTC))}
    with suppress(OSError):  # then it is tested again the next time
        cache.mkdir(parents=True, exist_ok=True)
        kept = dict(list(known.items())[-MAX_KNOWN:])
        (cache / KNOWN_NAME).write_bytes(msgspec.json.encode(kept))
