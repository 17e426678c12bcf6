"""What a captured page reaches through the relay: the guard, resolve rules, failures, upstream proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace

import pytest
from relay_lab import (
    OPEN_HOUSE,
    Recording,
    dial,
    listening,
    receive,
    receive_to_end,
    send,
    until_quiet,
)

from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.relay_client import Relay
from archiver.capture.recorder.resolve import parse_resolve_rule
from archiver.capture.recorder.wire import Kind


@pytest.fixture
async def relay():
    async with Relay() as running:
        yield running


def rules(*texts):
    return tuple(map(parse_resolve_rule, texts))


async def ask(relay, folder, policy, host, port):
    """Make one connection on a tape of its own; return the reply code and the recording."""
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    tape = await relay.open_tape(path, policy)
    code, client = await dial(tape.port, host, port)
    client.close()
    await until_quiet(tape)
    await tape.close()
    return code, Recording(path)


async def say_hello(sock):
    await send(sock, b"hello")
    await receive_to_end(sock)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "LOCALHOST.",
            "::1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "127.1",
            "0",
        ),
        *("0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "10.0.0.1", "192.168.0.1", "172.16.0.1"),
        *(
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ),
        *("64:ff9b:1::7f00:1", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "update.googleapis.com"),
    ],
)
async def test_no_form_of_an_inside_address_is_reached(relay, tmp_path, host):
    """Every spelling of an inside address is refused by the guard, recorded, and never dialled."""
    reached = []

    async def handler(sock):
        reached.append(sock)

    async with listening(handler) as port:
        code, recording = await ask(relay, tmp_path, RelayPolicy(), host, port)
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, reached, recording.facts(Kind.OPENED)) == (2, [], [])
    assert (refused["stage"], refused["host"], refused["port"]) == ("guard", host, port)


async def test_binary_addresses_are_guarded_too(relay, tmp_path):
    """The SOCKS address types for IPv4 and IPv6 lead past no check."""
    loop = asyncio.get_running_loop()
    tape = await relay.open_tape(tmp_path / "wire.bin", RelayPolicy())
    for kind, address in ((b"\1", socket.inet_aton("127.0.0.1")), (b"\4", b"\0" * 15 + b"\1")):
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", tape.port))
        await send(client, b"\5\1\0")
        assert await receive(client, 2) == b"\5\0"
        await send(client, b"\5\1\0" + kind + address + b"\0\x50")
        assert (await receive(client, 10))[1] == 2
        client.close()
    await tape.close()
    assert [facts["host"] for facts in Recording(tmp_path / "wire.bin").facts(Kind.REFUSED)] == [
        "127.0.0.1",
        "::1",
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_a_name_that_resolves_inside_is_refused(relay, tmp_path, address):
    """A public name whose answer has become an inside address (rebinding) is refused at the dial."""
    policy = RelayPolicy(resolve=rules(f"rebound.example:{address}"))
    code, recording = await ask(relay, tmp_path, policy, "rebound.example", 80)
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, refused["stage"]) == (2, "guard")
    assert refused["tried"][0]["error"] == refused["error"]


async def test_the_relay_never_connects_to_itself(relay, tmp_path):
    """Even where inside addresses are allowed, no tape's port can be reached through a tape."""
    other = await relay.open_tape(tmp_path / "other.bin", OPEN_HOUSE)
    for host in ("127.0.0.1", "localhost", "::ffff:127.0.0.1"):
        code, recording = await ask(relay, tmp_path, OPEN_HOUSE, host, other.port)
        assert code == 2
        assert "the relay's own" in recording.facts(Kind.REFUSED)[0]["error"]


async def test_allow_private_does_not_open_metadata(relay, tmp_path):
    """A metadata service stays refused where private addresses are allowed."""
    code, recording = await ask(relay, tmp_path, OPEN_HOUSE, "169.254.169.254", 80)
    assert code == 2
    assert "cloud metadata" in recording.facts(Kind.REFUSED)[0]["error"]


async def test_a_named_address_is_reached_and_nothing_beside_it(relay, tmp_path):
    """``allowed_addresses`` opens what it names and nothing else."""
    policy = RelayPolicy(allowed_addresses=("127.0.0.1",))
    async with listening(say_hello) as port:
        assert (await ask(relay, tmp_path, policy, "127.0.0.1", port))[0] == 0
        assert (await ask(relay, tmp_path, policy, "127.0.0.2", port))[0] == 2


async def test_the_facts_of_an_opened_connection(relay, tmp_path):
    """The record of a connection says what was asked, how it was resolved and what was dialled."""
    async with listening(say_hello) as port:
        policy = replace(OPEN_HOUSE, resolve=rules(f"*.example:443:127.0.0.1:{port}"))
        code, recording = await ask(relay, tmp_path, policy, "Shop.Example", 443)
    (opened,) = recording.facts(Kind.OPENED)
    assert code == 0
    assert (opened["host"], opened["port"]) == ("Shop.Example", 443)
    assert (opened["ip"], opened["dialled_port"], opened["dns"]) == ("127.0.0.1", port, ["127.0.0.1"])
    assert (opened["rule"], opened["guard"]) == (f"*.example:443:127.0.0.1:{port}", "checked")
    assert opened["connect_ms"] >= 0
    assert opened["local"][0] == "127.0.0.1"


async def test_a_rule_for_another_port_does_not_apply(relay, tmp_path):
    """A rule names its port; the name is not found on another."""
    policy = replace(OPEN_HOUSE, resolve=rules("a.invalid:443:127.0.0.1"))
    code, recording = await ask(relay, tmp_path, policy, "a.invalid", 80)
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, refused["stage"], refused["rule"]) == (4, "resolve", None)
    assert refused["errno"].startswith("EAI_")
    assert refused["error"].startswith("[Errno")


async def test_a_closed_port_is_recorded_as_the_system_says(relay, tmp_path):
    """A refused connection is recorded with the system's words and error name, for each address tried."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, recording = await ask(relay, tmp_path, OPEN_HOUSE, "127.0.0.1", port)
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, refused["stage"]) == (5, "connect")
    assert (refused["errno"], refused["error"]) == ("ECONNREFUSED", "Connection refused")
    assert refused["tried"] == [{"ip": "127.0.0.1", "error": "Connection refused", "errno": "ECONNREFUSED"}]


async def test_an_address_that_does_not_answer_times_out(relay, tmp_path):
    """A server whose queue is full counts as silent after the time set, and is recorded as that."""
    with socket.socket() as listener, contextlib.ExitStack() as filling:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = filling.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        policy = replace(OPEN_HOUSE, connect_timeout_s=0.2)
        code, recording = await ask(relay, tmp_path, policy, "127.0.0.1", listener.getsockname()[1])
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, refused["stage"], refused["errno"]) == (4, "connect", "ETIMEDOUT")


async def connect_proxy(sock):
    """A CONNECT proxy that passes nothing on: it answers for every target itself, and wants a password."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await receive(sock, 1)
    target = head.split(b" ")[1]
    if b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" not in head or target.startswith(b"forbidden"):
        await send(sock, b"HTTP/1.1 403 Forbidden\r\n\r\n")
        return
    if target.startswith(b"endless"):
        await send(sock, b"HTTP/1.1 200 OK\r\n" + b"X-Fill: more\r\n" * 5000)
        return
    await send(sock, b"HTTP/1.1 200 Connection ")
    await send(sock, b"established\r\n\r\n" + target)


async def test_http_upstream(relay, tmp_path):
    """Through an HTTP proxy the name goes out unresolved, early bytes survive, and the record says so."""
    async with listening(connect_proxy) as proxy:
        policy = RelayPolicy(upstream=f"http://user:secret@127.0.0.1:{proxy}")
        tape = await relay.open_tape(tmp_path / "wire.bin", policy)
        code, client = await dial(tape.port, "shop.example", 443)
        assert (code, await receive_to_end(client)) == (0, (b"shop.example:443", None))
        client.close()
        assert (await dial(tape.port, "forbidden.example", 443))[0] == 4
        assert (await dial(tape.port, "endless.example", 443))[0] == 4
        for inside in ("localhost", "127.0.0.1", "2130706433", "metadata.google.internal"):
            assert (await dial(tape.port, inside, 80))[0] == 2
        await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    (opened,) = recording.facts(Kind.OPENED)
    assert (opened["ip"], opened["guard"]) == (None, "address not seen by the guard")
    assert opened["upstream"] == f"http://127.0.0.1:{proxy}"
    assert b"secret" not in (tmp_path / "wire.bin").read_bytes()
    stages = [facts["stage"] for facts in recording.facts(Kind.REFUSED)]
    assert stages == ["connect", "connect", "guard", "guard", "guard", "guard"]


@pytest.mark.parametrize(
    ("scheme", "asked", "guard"), [("socks5", "127.0.0.1", "checked"), ("socks5h", "a.example", None)]
)
async def test_socks_upstream(relay, tmp_path, scheme, asked, guard):
    """socks5 sends the address that the guard has checked, socks5h the name, and the record says which."""
    async with listening(say_hello) as port, Relay() as second:
        rule = rules(f"a.example:127.0.0.1:{port}")
        far = await second.open_tape(tmp_path / "far.bin", replace(OPEN_HOUSE, resolve=rule))
        resolve = rules("a.example:127.0.0.1") if guard else ()
        policy = replace(OPEN_HOUSE, resolve=resolve, upstream=f"{scheme}://127.0.0.1:{far.port}")
        tape = await relay.open_tape(tmp_path / "near.bin", policy)
        code, client = await dial(tape.port, "a.example", port)
        assert (code, await receive(client, 5)) == (0, b"hello")
        client.close()
        await until_quiet(tape)
        await tape.close()
        await far.close()
    (near,) = Recording(tmp_path / "near.bin").facts(Kind.OPENED)
    assert Recording(tmp_path / "far.bin").facts(Kind.OPENED)[0]["host"] == asked
    assert near["guard"] == (guard or "address not seen by the guard")


async def test_an_upstream_that_is_down_is_recorded(relay, tmp_path):
    """A proxy that does not listen is told apart from a server that does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    policy = RelayPolicy(upstream=f"socks5h://127.0.0.1:{port}")
    code, recording = await ask(relay, tmp_path, policy, "a.example", 80)
    (refused,) = recording.facts(Kind.REFUSED)
    assert (code, refused["stage"]) == (5, "connect")
    assert "proxy" in refused["error"].lower()


async def test_an_upstream_that_speaks_no_socks_is_refused(relay, tmp_path):
    """Garbage from a proxy ends as a recorded refusal, not as a crash."""

    async def garbage(sock):
        await send(sock, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await receive_to_end(sock)

    async with listening(garbage) as port:
        policy = RelayPolicy(upstream=f"socks5h://127.0.0.1:{port}")
        code, recording = await ask(relay, tmp_path, policy, "a.example", 80)
    assert code == 4
    assert recording.facts(Kind.REFUSED)[0]["stage"] == "connect"
