"""A server that misbehaves, a proxy that loses answers, and one driver for every engine.

Engines: the blocking client; the asynchronous one on aiohttp, and on httpx alone.
"""

import asyncio
import inspect
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from trailseal import AsyncClient, Client, _connect

ENGINES = ("blocking", "aiohttp", "httpx")
RECEIPT = (
    b'{"event_id":"e","log_id":"main","index":0,"state":"pending","replayed":false,'
    b'"leaf_hash":"ab","received_at":"2026-01-01T00:00:00Z"}'
)
SOCKET_S = 20.0  # no socket of a test waits longer


def make_key() -> str:
    body = "ts_abcd1234_" + "S" * 32
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def reply(body: bytes = RECEIPT, status: int = 200, *headers: str) -> bytes:
    """A whole answer; without Connection: close, so that clients keep the connection."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body


def reset(connection: socket.socket) -> None:
    """Close with RST, as a crashed process or a cut line does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def read_message(connection: socket.socket, buffer: bytearray) -> bytes | None:
    """One message with its body, by Content-Length; None at the end."""
    while b"\r\n\r\n" not in buffer:
        piece = connection.recv(65_536)
        if not piece:
            return None
        buffer += piece
    head, _, _ = bytes(buffer).partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    size = len(head) + 4 + int(length or 0)
    while len(buffer) < size:
        piece = connection.recv(65_536)
        if not piece:
            return None
        buffer += piece
    message = bytes(buffer[:size])
    del buffer[:size]
    return message


Behave = Callable[[socket.socket, bytes, int], bool | None]


class Loopback:
    """Calls `behave(connection, request, number)` for each request; False ends the connection."""

    def __init__(self, behave: Behave) -> None:
        self._behave, self._lock = behave, threading.Lock()
        self.requests: list[bytes] = []
        self.end = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(SOCKET_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        buffer = bytearray()
        with suppress(OSError), connection:
            while (request := read_message(connection, buffer)) is not None:
                with self._lock:
                    self.requests.append(request)
                    number = len(self.requests)
                if self._behave(connection, request, number) is False:
                    break
        self._open.discard(connection)

    def close(self) -> None:
        self.end.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def loopback(behave: Behave) -> Iterator[Loopback]:
    server = Loopback(behave)
    try:
        yield server
    finally:
        server.close()


def losing_answers(url: str, share: float, seed: int = 1) -> Behave:
    """A proxy to a real server: it lets the server commit, then resets a share of the answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    chance, lock = random.Random(seed), threading.Lock()  # noqa: S311  # the same each time

    def behave(connection: socket.socket, request: bytes, _: int) -> bool:
        with socket.create_connection((host, int(port)), SOCKET_S) as upstream:
            upstream.sendall(request)
            answer = read_message(upstream, bytearray())
        with lock:
            lost = chance.random() < share
        if lost or answer is None:
            reset(connection)
            return False
        connection.sendall(answer)
        return True

    return behave


class Engine:
    """One of the clients behind blocking calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kind: Any = Client if name == "blocking" else AsyncClient
        self.loop = asyncio.new_event_loop()
        self._made: list[Any] = []

    def client(self, url: str, key: str = "", **options: Any) -> Any:
        made = self._kind(url, key or make_key(), **options)
        self._made.append(made)
        return made

    def __call__(self, value: Any) -> Any:
        return self.loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def close(self) -> None:
        for client in self._made:
            self(client.close())
        self(self.loop.shutdown_asyncgens())  # as asyncio.run does
        self.loop.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Every test that asks for it runs on all three."""
    if request.param == "httpx":
        monkeypatch.setattr(_connect, "_fast", lambda _connection: False)
    one = Engine(request.param)
    yield one
    one.close()
