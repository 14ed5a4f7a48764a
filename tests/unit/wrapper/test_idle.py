"""An idle connection that its server closed is noticed before it is used, also the cheap way."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from trailseal import AsyncClient, _connect

from .conftest import make_key

BODY = json.dumps({"key_id": "k"}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.fixture
def server() -> Iterator[tuple[str, list[int], threading.Event]]:
    """Counts the requests of each connection, and closes all that are open at an event."""
    counts: list[int] = []
    close = threading.Event()

    def serve(connection: socket.socket, number: int) -> None:
        connection.settimeout(0.01)
        with connection:
            while not close.is_set():
                try:
                    if not connection.recv(65_536):
                        return
                except TimeoutError:
                    continue
                counts[number] += 1
                connection.sendall(ANSWER)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            counts.append(0)
            number = len(counts) - 1
            threading.Thread(target=serve, args=(connection, number), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counts, close
        close.set()


async def test_a_connection_is_used_again_until_its_server_closes_it(
    server: tuple[str, list[int], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then another one is opened, without a try that fails."""
    monkeypatch.setattr(_connect, "_fast", lambda _connection: False)
    url, counts, close = server
    async with AsyncClient(url, make_key(), max_retries=0) as client:
        for _ in range(3):
            await client.whoami()
        assert counts == [3]
        close.set()
        await asyncio.sleep(0.1)  # the server's side ends
        close.clear()
        await client.whoami()
    assert counts == [3, 1]
