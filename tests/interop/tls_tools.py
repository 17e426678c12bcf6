"""Other people's TLS programs, talking through a TCP pipe that keeps what passes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from pathlib import Path

from archiver.capture.recorder.keylog import KeyLog
from archiver.capture.recorder.tls import TlsStream

HOST = "evidence.example"
PATIENCE_S = 20


class Pipe:
    """Listens on loopback, carries each connection to *port*, keeps chunks of each in the order read."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._wires: list[list[tuple[int, bytes]]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._carriers: list[threading.Thread] = []
        # a connection may be over before the thread that accepted it gets to put it down
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                wire: list[tuple[int, bytes]] = []
                thread = threading.Thread(target=self._carry, args=(client, wire), daemon=True)
                with self._lock:
                    thread.start()
                    self._carriers.append(thread)
                    self._wires.append(wire)

    def _carry(self, client: socket.socket, wire: list[tuple[int, bytes]]) -> None:
        server = socket.create_connection(("127.0.0.1", self.target))
        sides = [client, server]
        open_sides = [client, server]
        with client, server, contextlib.suppress(OSError):
            while open_sides:
                for side in select.select(open_sides, [], [])[0]:
                    way = sides.index(side)
                    data = side.recv(65536)
                    if data:
                        wire.append((way, data))
                        sides[1 - way].sendall(data)
                    else:
                        open_sides.remove(side)
                        sides[1 - way].shutdown(socket.SHUT_WR)

    def wires(self, count: int) -> list[list[tuple[int, bytes]]]:
        """Return the last *count* connections, 0 for all, once each has ended on both sides."""
        with self._lock:
            carriers, wires = self._carriers[-count:], self._wires[-count:]
        for thread in carriers:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a connection stayed open"
        return wires

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._carriers):
            thread.join(PATIENCE_S)


class Program:
    """A child whose output is read up to a marker, so that nobody has to sleep."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        self.output = b""
        self._read = 0

    def until(self, marker: bytes) -> bytes:
        """Read on until *marker* comes; return what came before it since the last marker."""
        end = time.monotonic() + PATIENCE_S
        while (found := self.output.find(marker, self._read)) < 0:
            ready = select.select([self._child.stdout], [], [], max(0, end - time.monotonic()))[0]
            data = os.read(self._child.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise AssertionError(f"{self._child.args} never said {marker!r}: {self.output[-2000:]!r}")
            self.output += data
        before = self.output[self._read : found]
        self._read = found + len(marker)
        return before

    def type(self, text: bytes) -> None:
        self._child.stdin.write(text)
        self._child.stdin.flush()

    def end(self) -> None:
        """Close its input, give it time to say goodbye, then stop it."""
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def kill(self) -> None:
        self._child.kill()
        self.end()


def follow(wire: list[tuple[int, bytes]], keys: Path) -> tuple[TlsStream, tuple[bytes, bytes]]:
    """Feed what one connection sent; return the stream and the plaintext of each direction."""
    stream = TlsStream(KeyLog(keys))
    plain = (bytearray(), bytearray())
    for at, (way, data) in enumerate(wire):
        for direction, content, _ in stream.feed(way, data, at):
            plain[direction].extend(content)
    return stream, (bytes(plain[0]), bytes(plain[1]))


def free_port() -> int:
    """Return a port that nobody uses now, for programs that cannot choose one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def make_certificate(folder: Path, name: str, *options: str) -> Path:
    """Let openssl write a self-signed certificate and its key into one PEM."""
    pem = folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-subj", f"/CN={HOST}", "-days", "9", *options]
    subprocess.run([*command, "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True)
    with pem.open("ab") as file:
        file.write(Path(f"{pem}.crt").read_bytes())
    return pem


class OpensslServer:
    """``openssl s_server`` behind a pipe."""

    def __init__(self, *options: str) -> None:
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", *options]
        self.program = Program(*command)
        self.program.until(b"ACCEPT 127.0.0.1:")
        self.pipe = Pipe(int(self.program.until(b"\n")))

    def client(self, keys: Path, *options: str) -> Program:
        address = f"127.0.0.1:{self.pipe.port}"
        command = ["openssl", "s_client", "-connect", address, "-keylogfile", str(keys), *options]
        if "-noservername" not in options:
            command += ["-servername", HOST]
        return Program(*command)

    def close(self) -> None:
        self.program.kill()
        self.pipe.close()


class GnutlsServer:
    """``gnutls-serv`` behind a pipe; answers each line with the same line."""

    def __init__(self, pem: Path, *options: str) -> None:
        port = free_port()
        files = ["--x509keyfile", str(pem), "--x509certfile", str(pem)]
        self.program = Program("gnutls-serv", "--echo", "-p", str(port), *files, *options)
        self.program.until(b"...done")
        self.pipe = Pipe(port)

    def client(self, keys: Path, *options: str) -> Program:
        command = ["gnutls-cli", "--insecure", "-p", str(self.pipe.port), "--sni-hostname", HOST, *options]
        return Program(*command, "127.0.0.1", env={"SSLKEYLOGFILE": str(keys)})

    def close(self) -> None:
        self.program.kill()
        self.pipe.close()


def talk(client: Program, *lines: bytes) -> bytes:
    """Say lines to a server that answers each reversed; return what was said."""
    client.until(b"Verify return code")
    for line in lines:
        client.type(line + b"\n")
        client.until(line[::-1] + b"\n")
    client.end()
    return b"".join(line + b"\n" for line in lines)
