"""A WebSocket that sends back what it gets, over whatever carries its bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tests.corpus.log import Served


async def converse(
    served: Served, send: Callable[[bytes], Awaitable[None]], receive: Callable[[], Awaitable[bytes]]
) -> None:
    """Greet, send back every message, and end when the client says so or is gone."""
    socket = Connection(ConnectionType.SERVER)

    async def out(event: object) -> None:
        data = socket.send(event)
        served.body += data
        await send(data)

    with contextlib.suppress(OSError):
        await out(TextMessage(data="сәлем"))
        await out(Ping(payload=b"there?"))
        while data := await receive():
            served.request_body += data
            socket.receive_data(data)
            for event in socket.events():
                if isinstance(event, TextMessage | BytesMessage):
                    await out(event)
                elif isinstance(event, CloseConnection):
                    await out(event.response())
                    return
        served.cut = "client"
