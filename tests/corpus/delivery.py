"""Sends one answer, whatever the protocol, and notes what became of it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tests.corpus.answers import Answer, Fields
from tests.corpus.log import Served

MAX_WAIT_S = 20


class Gone(Exception):
    """The client has left: the connection or the stream is no more."""


class Out(Protocol):
    """One response on its way out; each call raises ``Gone`` when the client has left."""

    async def interim(self, status: int, fields: Fields) -> None: ...

    async def head(self, answer: Answer) -> None: ...

    async def data(self, data: bytes) -> None: ...

    async def finish(self, answer: Answer) -> None: ...

    async def cut(self, how: str) -> None: ...

    async def until_gone(self) -> None: ...


async def deliver(answer: Answer, served: Served, out: Out) -> None:
    """Send *answer* and fill in *served*; ``ended`` tells that all was sent and taken."""
    served.plain = answer.decoded
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    try:
        for status, fields in answer.interim:
            await out.interim(status, fields)
        await out.head(answer)
        if answer.waits_for:
            await asyncio.wait_for(answer.waits_for.wait(), MAX_WAIT_S)
        step = answer.pieces or max(len(body), 1)
        for place in range(0, len(body), step):
            if place and answer.pause_s:
                await asyncio.sleep(answer.pause_s)
            await out.data(body[place : place + step])
        if answer.event_stream:
            await out.until_gone()
        elif answer.end:
            served.cut = "server"
            await out.cut(answer.end)
        else:
            await out.finish(answer)
    except (Gone, TimeoutError):
        served.cut = served.cut or "client"
    served.ended = True
