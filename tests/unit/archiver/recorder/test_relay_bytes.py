"""The relay passes bytes, ends and resets on as they are, and every one of them is on record first."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest
from relay_lab import (
    OPEN_HOUSE,
    Recording,
    dial,
    listening,
    receive,
    receive_to_end,
    relay_pid,
    reset,
    rss_bytes,
    send,
    until,
    until_quiet,
)

from archiver.capture.recorder.relay_client import Relay
from archiver.capture.recorder.wire import Kind

MIB = 1024 * 1024


@pytest.fixture
async def relay():
    async with Relay() as running:
        yield running


async def test_bytes_are_equal_both_ways_and_on_record(relay, tmp_path):
    """Random bytes in random chunks arrive unchanged in both directions and stand in the wire file."""
    dice = random.Random(7)
    up, down = (dice.randbytes(3 * MIB + dice.randrange(1000)) for _ in range(2))
    got = {}

    async def in_chunks(sock, data):
        at = 0
        while at < len(data):
            size = dice.choice((1, 17, 1000, 70_000, 300_000))
            await send(sock, data[at : at + size])
            at += size
        sock.shutdown(socket.SHUT_WR)

    async def handler(sock):
        _, (got["up"], _) = await asyncio.gather(in_chunks(sock, down), receive_to_end(sock))

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        code, client = await dial(tape.port, "127.0.0.1", port)
        _, (got["down"], error) = await asyncio.gather(in_chunks(client, up), receive_to_end(client))
        await until_quiet(tape)
        client.close()
    status = await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert (code, error) == (0, None)
    assert (got["up"], got["down"]) == (up, down)
    assert recording.data[1, Kind.CLIENT_DATA] == up
    assert recording.data[1, Kind.SERVER_DATA] == down
    assert (status.client_bytes, status.server_bytes) == (len(up), len(down))
    assert status.wire_bytes == (tmp_path / "wire.bin").stat().st_size
    (closed,) = recording.facts(Kind.CLOSED)
    assert (closed["client_bytes_unsent"], closed["server_bytes_unsent"]) == (0, 0)


async def test_half_close_passes_and_the_answer_still_comes(relay, tmp_path):
    """A client that has sent its end still gets the whole answer."""

    async def handler(sock):
        asked, _ = await receive_to_end(sock)
        await send(sock, asked * 100)

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        await send(client, b"question")
        client.shutdown(socket.SHUT_WR)
        assert await receive_to_end(client) == (b"question" * 100, None)
        client.close()
        await until_quiet(tape)
    await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    kinds = recording.kinds()
    assert kinds.index(Kind.CLIENT_EOF) < kinds.index(Kind.SERVER_DATA) < kinds.index(Kind.SERVER_EOF)
    assert recording.facts(Kind.CLOSED)[0]["by"] == "client"


@pytest.mark.parametrize("size", [0, 1, 100_000, 2 * MIB])
async def test_server_reset_stays_a_reset_and_loses_nothing(relay, tmp_path, size):
    """A reset in mid-body reaches the client as a reset, after every byte that the relay received."""
    body = os.urandom(size)
    sent = asyncio.Event()

    async def handler(sock):
        await receive(sock, 3)
        await send(sock, body)
        await sent.wait()
        reset(sock)

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        await send(client, b"get")
        reading = asyncio.create_task(receive_to_end(client))
        await until(tape, lambda status: status.server_bytes == size)
        sent.set()
        data, error = await reading
        client.close()
        await until_quiet(tape)
    await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert (data, error) == (body, ConnectionResetError)
    assert recording.data[1, Kind.SERVER_DATA] == body
    (closed,) = recording.facts(Kind.CLOSED)
    assert (closed["by"], "reset" in closed["why"].lower()) == ("server", True)
    assert Kind.SERVER_EOF not in recording.kinds()


async def test_a_reset_that_a_send_meets_first_stays_a_reset(relay, tmp_path):
    """A client whose own data meets the server's reset still reads all that came, and then a reset."""
    stuck, broken = asyncio.Event(), asyncio.Event()

    async def handler(sock):
        sending = asyncio.create_task(send(sock, b"x" * 64 * MIB))
        await stuck.wait()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        reset(sock)
        broken.set()

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port, receive_buffer=65536)
        seen = list(range(200))
        await until(tape, lambda status: seen.append(status.server_bytes) or len(set(seen[-200:])) == 1)
        stuck.set()
        await broken.wait()
        await send(client, b"one")
        await until(tape, lambda status: status.client_bytes == 3)
        await send(client, b"two")
        await until(tape, lambda _: Recording(tmp_path / "wire.bin").data[1, Kind.NOT_DELIVERED_TO_SERVER])
        data, error = await receive_to_end(client)
        client.close()
        await until_quiet(tape)
    status = await tape.close()
    assert (len(data), error) == (status.server_bytes, ConnectionResetError)
    (closed,) = Recording(tmp_path / "wire.bin").facts(Kind.CLOSED)
    assert (closed["by"], closed["server_bytes_unsent"]) == ("server", 0)


async def test_no_byte_counts_as_sent_that_the_server_did_not_get(relay, tmp_path):
    """What a server that does not read never took of a request is counted as unsent."""
    body = os.urandom(200_000)
    held, closed = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def handler(sock):
        await closed.wait()
        held.set_result(await receive_to_end(sock))

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler, receive_buffer=4096) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        await send(client, body)
        client.shutdown(socket.SHUT_WR)
        await until(tape, lambda _: Kind.CLIENT_EOF in Recording(tmp_path / "wire.bin").kinds())
        await tape.close()
        closed.set()
        taken, error = await held
        client.close()
    (facts,) = Recording(tmp_path / "wire.bin").facts(Kind.CLOSED)
    assert facts["client_bytes"] == len(body)
    # The server's kernel may hold bytes whose acknowledgement was still to come, never fewer.
    assert 0 < len(body) - facts["client_bytes_unsent"] <= len(taken) < len(body)
    assert body.startswith(taken)
    assert error is ConnectionResetError


async def test_client_reset_reaches_the_server_as_a_reset(relay, tmp_path):
    """A client that aborts makes the relay abort the server's side, not end it in order."""
    ends = asyncio.get_running_loop().create_future()

    async def handler(sock):
        ends.set_result(await receive_to_end(sock))

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        await send(client, b"half a request")
        reset(client)
        assert await ends == (b"half a request", ConnectionResetError)
        await until_quiet(tape)
    await tape.close()
    assert Recording(tmp_path / "wire.bin").facts(Kind.CLOSED)[0]["by"] == "client"


async def test_what_comes_after_the_client_closed_is_marked_not_delivered(relay, tmp_path):
    """Bytes that the server sends to a client that has closed are on record, and as delivered to nobody."""
    gone = asyncio.Event()

    async def handler(sock):
        await send(sock, b"early")
        await gone.wait()
        await send(sock, b"late")
        await receive_to_end(sock)

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        assert await receive(client, 5) == b"early"
        client.close()
        await until(tape, lambda _: Kind.CLIENT_EOF in Recording(tmp_path / "wire.bin").kinds())
        gone.set()
        await until_quiet(tape)
    status = await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert recording.data[1, Kind.SERVER_DATA] == b"early"
    assert recording.data[1, Kind.NOT_DELIVERED_TO_CLIENT] == b"late"
    assert status.server_bytes == 5


async def test_slow_reader_holds_the_server_back_not_the_body_in_memory(relay, tmp_path):
    """A 200 MB body for a client that does not read costs the relay no memory, and arrives whole later."""
    size = 200_000_000
    block = os.urandom(MIB)

    async def handler(sock):
        left = size
        while left:
            await send(sock, block[:left])
            left -= min(left, MIB)

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    loop = asyncio.get_running_loop()
    async with listening(handler) as port:
        _, client = await dial(tape.port, "127.0.0.1", port, receive_buffer=65536)
        before = rss_bytes(relay_pid(relay))
        seen = list(range(200))
        await until(tape, lambda status: seen.append(status.server_bytes) or len(set(seen[-200:])) == 1)
        assert (await tape.status()).server_bytes < size / 4
        got, most, buffer = 0, 0, bytearray(MIB)
        while got < size and (count := await loop.sock_recv_into(client, buffer)):
            got += count
            most = max(most, rss_bytes(relay_pid(relay)))
        client.close()
        await until_quiet(tape)
    status = await tape.close()
    assert got == status.server_bytes == size
    assert most - before < 60 * MIB
    (tmp_path / "wire.bin").unlink()


async def test_300_connections_at_once(relay, tmp_path):
    """300 connections at once all get their own bytes, under their own numbers."""

    async def handler(sock):
        while part := await receive(sock, 8):
            await send(sock, part * 500)

    async def one(number):
        code, client = await dial(tape.port, "127.0.0.1", port)
        assert code == 0
        started.append(client)
        if len(started) == 300:
            everybody.set()
        await everybody.wait()
        await send(client, b"%08d" % number)
        data = await receive(client, 4000)
        client.close()
        return data == b"%08d" % number * 500

    started, everybody = [], asyncio.Event()
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        assert all(await asyncio.gather(*(one(number) for number in range(300))))
        await until_quiet(tape)
    status = await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert (status.opened_count, status.peak_count) == (300, 300)
    asked = {recording.data[number, Kind.CLIENT_DATA] for number in range(1, 301)}
    assert asked == {b"%08d" % number for number in range(300)}


async def test_tapes_keep_their_traffic_apart(relay, tmp_path):
    """Two captures at once have two ports and two files, and neither holds the other's bytes."""

    async def handler(sock):
        await send(sock, await receive(sock, 3))

    tapes = [await relay.open_tape(tmp_path / f"{name}.bin", OPEN_HOUSE) for name in ("one", "two")]
    async with listening(handler) as port:
        for tape, word in zip(tapes, (b"one", b"two"), strict=True):
            _, client = await dial(tape.port, "127.0.0.1", port)
            await send(client, word)
            assert await receive(client, 3) == word
            client.close()
            await until_quiet(tape)
    for tape, word in zip(tapes, ("one", "two"), strict=True):
        await tape.close()
        recording = Recording(tmp_path / f"{word}.bin")
        assert recording.data[1, Kind.SERVER_DATA] == word.encode()
        assert {frame.connection for frame in recording.frames} == {1}
