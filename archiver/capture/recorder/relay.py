"""The relay process: tapes opened, watched and closed by lines of JSON on standard input.

Start it with ``python -m archiver.capture.recorder.relay``; ``relay_client`` does. Nothing but the standard
library is imported (python-socks only where an upstream is set), so that it is up before a browser is.

Requests, one JSON object a line, each answered by one line that repeats ``id``:

- ``{"id": 1, "do": "open", "path": ..., "policy": {...}}`` -> ``{"id": 1, "tape": 1, "port": 40123}``
- ``{"id": 2, "do": "status", "tape": 1}`` -> ``{"id": 2, "status": {...}}``
- ``{"id": 3, "do": "close", "tape": 1}`` -> ``{"id": 3, "status": {...}}``

A request that fails is answered by ``{"id": ..., "error": text, "code": ..., "hint": ...}``. Without being
asked the relay says ``{"stopped": 1, "status": {...}}`` when disk or budget end tape 1. It exits when
standard input ends, which is what a killed parent leaves behind, or on SIGTERM: everything open is aborted,
every wire file synced. SIGINT is left to the parent, who may want to finish.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.tape import TapeServer
from archiver.errors import ArchiverError, UsageError

MAX_REQUEST_BYTES = 1024 * 1024


class _Control:
    """Answers the parent's requests."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self._tapes: dict[int, TapeServer] = {}
        self._own_ports: set[int] = set()
        self._opened_count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, requests: asyncio.StreamReader) -> None:
        """Answer until the parent has gone; a request that takes long keeps no other waiting."""
        try:
            while line := await requests.readline():
                task = asyncio.create_task(self._handle(json.loads(line)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            self.ending.set()

    async def close(self) -> None:
        """Close every tape that is still open."""
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(tape.close() for tape in self._tapes.values()))

    async def _handle(self, request: dict[str, Any]) -> None:
        try:
            answer = await self._do(request)
        except ArchiverError as error:
            answer = {"error": error.message, "code": error.code, "hint": error.hint}
        self._say({"id": request["id"], **answer})

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "open":
            return self._open(Path(request["path"]), RelayPolicy.from_json(request["policy"]))
        tape = self._tapes.get(request["tape"])
        if tape is None:
            raise UsageError(
                f"tape {request['tape']}: {request['do']}: expected an open tape, got a closed one",
                code="E217",
                hint="close each tape once",
            )
        if request["do"] == "close":
            del self._tapes[request["tape"]]
            return {"status": asdict(await tape.close())}
        return {"status": asdict(tape.status())}

    def _open(self, path: Path, policy: RelayPolicy) -> dict[str, Any]:
        self._opened_count += 1
        number = self._opened_count
        tape = TapeServer(path, policy, self._own_ports, on_stop=lambda: self._stopped(number))
        self._tapes[number] = tape
        return {"tape": number, "port": tape.port}

    def _stopped(self, number: int) -> None:
        if tape := self._tapes.get(number):
            self._say({"stopped": number, "status": asdict(tape.status())})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self.ending.set()


async def _run() -> None:
    loop = asyncio.get_running_loop()
    control = _Control()
    loop.add_signal_handler(signal.SIGTERM, control.ending.set)
    requests = asyncio.StreamReader(limit=MAX_REQUEST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    serving = asyncio.create_task(control.serve(requests))
    await control.ending.wait()
    serving.cancel()
    await control.close()


def main() -> None:
    """Run until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0o077)
    asyncio.run(_run())
    # A resolver thread may still wait for a name server; an ordinary exit would wait for it.
    os._exit(0)


if __name__ == "__main__":
    main()
