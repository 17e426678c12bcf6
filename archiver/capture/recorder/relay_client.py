"""The session's side of the relay process: start it, open tapes, ask, close."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from archiver.capture.recorder.tape import TapeStatus
from archiver.errors import ArchiverError, EnvironmentUnfit

if TYPE_CHECKING:
    from types import TracebackType

    from archiver.capture.recorder.guard import RelayPolicy

ANSWER_TIMEOUT_S = 15.0
"""For an answer; longer means that the disk does not take what is written."""
SYNC_TIMEOUT_S = 120.0
"""For closing a tape, which syncs its wire file."""
MAX_ANSWER_BYTES = 1024 * 1024

_IMPORT_ROOT = Path(__file__).parents[3]


class RelayLost(EnvironmentUnfit):
    """The relay process ended or does not answer; what it had received is in the wire files."""


class RelayRefused(ArchiverError):
    """The relay did not do what it was asked; it says why."""


class Tape:
    """One capture's port and wire file. Made by ``Relay.open_tape``.

    Attributes:
        port: Where the SOCKS5 relay of this capture listens on 127.0.0.1.
        stopped: Set when the recording has ended early: byte budget, wire file not writable, relay lost.
            ``last_status`` says which: ``budget_reached`` or ``failure``.
        last_status: The newest status known.
    """

    def __init__(self, relay: Relay, number: int, port: int) -> None:
        self.port = port
        self.stopped = asyncio.Event()
        self.last_status = TapeStatus()
        self._relay = relay
        self._number = number

    async def status(self) -> TapeStatus:
        """Ask what the tape has done so far.

        Raises:
            RelayLost: The process has ended or does not answer.
            RelayRefused: The tape was closed before.
        """
        answer = await self._relay.ask({"do": "status", "tape": self._number}, ANSWER_TIMEOUT_S)
        self.last_status = TapeStatus(**answer["status"])
        return self.last_status

    async def close(self) -> TapeStatus:
        """Stop listening, abort what is open, sync the wire file; return the final status.

        When the process has ended, this returns the last status known with the loss as its ``failure``.

        Raises:
            RelayLost: The process lives but does not answer within ``SYNC_TIMEOUT_S``.
            RelayRefused: The tape was closed before.
        """
        try:
            answer = await self._relay.ask({"do": "close", "tape": self._number}, SYNC_TIMEOUT_S)
        except RelayLost:
            if not self._relay.ended:
                raise
            self.lose()
        else:
            self.last_status = TapeStatus(**answer["status"])
        self._relay.forget(self._number)
        return self.last_status

    def stop(self, status: TapeStatus) -> None:
        """Take note that the recording has ended early."""
        self.last_status = status
        self.stopped.set()

    def lose(self) -> None:
        """Take note that the relay process has ended."""
        failure = self.last_status.failure or "the relay process ended"
        self.stop(replace(self.last_status, failure=failure, live_count=0))


class Relay:
    """The relay process, as an asynchronous context manager. One serves many captures."""

    def __init__(self) -> None:
        self.ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked_count = 0
        self._tapes: dict[int, Tape] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the process; it gets ready while other things go on, such as a browser's start.

        Raises:
            RelayLost: It cannot be started.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "archiver.capture.recorder.relay"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=_IMPORT_ROOT,
                limit=MAX_ANSWER_BYTES,
                start_new_session=True,  # Ctrl-C in the terminal must not end it before the capture is saved
            )
        except OSError as error:
            raise _lost(f"start failed: {error.strerror}") from error
        self._listening = asyncio.create_task(self._listen(self._process))

    async def open_tape(self, wire_path: Path, policy: RelayPolicy) -> Tape:
        """Open a port that records into *wire_path*, which must not exist.

        Raises:
            RelayRefused: The file cannot be made, or the policy cannot be enforced on this system.
            RelayLost: The process has ended or does not answer.
        """
        answer = await self.ask(_open_request(wire_path, policy), ANSWER_TIMEOUT_S)
        tape = Tape(self, answer["tape"], answer["port"])
        self._tapes[answer["tape"]] = tape
        return tape

    async def close(self) -> None:
        """End the process, also when it was killed; its tapes are closed and synced by it first."""
        if self._process is None or self._listening is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._listening
        self._process = None

    async def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request of ``relay``'s protocol and return its answer.

        Raises:
            RelayLost, RelayRefused.
        """
        if self.ended or self._process is None or self._process.stdin is None:
            raise _lost("request failed: expected a running relay, got none")
        self._asked_count += 1
        number = self._asked_count
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
            async with asyncio.timeout(timeout_s):
                found: dict[str, Any] = await answer
        except TimeoutError:
            raise _lost(f"request failed: expected an answer within {timeout_s:.0f} s, got none") from None
        finally:
            del self._asked[number]
        if "error" in found:
            raise RelayRefused(found["error"], code=found["code"], hint=found["hint"])
        return found

    def forget(self, number: int) -> None:
        """Drop a tape that is closed."""
        self._tapes.pop(number, None)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "stopped" in message:
                if tape := self._tapes.get(message["stopped"]):
                    tape.stop(TapeStatus(**message["status"]))
            elif answer := self._asked.get(message["id"]):
                answer.set_result(message)
        self.ended = True
        code = await process.wait()
        for answer in self._asked.values():
            answer.set_exception(_lost(f"ended: expected an answer, got exit status {code}"))
        for tape in tuple(self._tapes.values()):
            tape.lose()


def _open_request(wire_path: Path, policy: RelayPolicy) -> dict[str, Any]:
    # The relay runs in another working directory.
    return {"do": "open", "path": str(wire_path.absolute()), "policy": policy.to_json()}


def _lost(what: str) -> RelayLost:
    return RelayLost(
        f"relay: {what}",
        code="E214",
        hint="capture again; what was received is kept as an interrupted capture",
    )
