"""Large downloads are read from the connection itself: the same bytes, limits and deadlines."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpcore
import httpx
import pytest
from trailseal import Client, _downloads, _large
from trailseal.errors import DownloadError

from .conftest import make_key

CONTENT = random.Random(7).randbytes(3 * _large.LARGE + 12_345)  # noqa: S311  # no secret
HEAD = 'HTTP/1.1 {}\r\nETag: "1"\r\nContent-Length: {}\r\n{}\r\n'
Answer = Callable[[socket.socket, int], None]
"""Answer a request that begins at this byte; the connection is closed afterwards."""


@contextmanager
def server(*answers: Answer) -> Iterator[str]:
    """Each connection gets the next answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked = connection.recv(65_536).lower().partition(b"range: bytes=")[2]
                    try:
                        answer(connection, int(asked.partition(b"-")[0] or 0))
                    except OSError:
                        continue  # the client went away

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def head(start: int) -> bytes:
    place = f"Content-Range: bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}\r\n" if start else ""
    return HEAD.format(
        "206 Partial Content" if start else "200 OK", len(CONTENT) - start, place
    ).encode()


def all_of_it(connection: socket.socket, start: int) -> None:
    connection.sendall(head(start) + CONTENT[start:])


def fetched(url: str, path: Path, timeout: float = 60.0) -> bytes:
    with Client(url, make_key(), max_retries=1) as client:
        client.download_file(f"{url}/x", path, timeout=timeout)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once."""
    monkeypatch.setattr(_downloads.random, "random", lambda: 0.0)


@pytest.mark.parametrize("most", [1, 1000, 70_000, 10_000_000])
def test_the_bytes_are_the_same_in_whatever_pieces_they_come(tmp_path: Path, most: int) -> None:
    """The body begins in the same read as the head, or later."""

    def pieces(connection: socket.socket, start: int) -> None:
        connection.sendall(head(start) + CONTENT[start : start + most])
        for at in range(start + most, len(CONTENT), max(most, 100_000)):
            connection.sendall(CONTENT[at : at + max(most, 100_000)])

    with server(pieces) as url:
        assert fetched(url, tmp_path / "x") == CONTENT


def test_what_follows_a_body_is_no_part_of_it(tmp_path: Path) -> None:
    """Content-Length ends it, and the connection is not used for another call."""

    def more(connection: socket.socket, start: int) -> None:
        connection.sendall(
            head(start) + CONTENT[start:] + HEAD.format("200 OK", 4, "").encode() + b"evil"
        )

    with server(more, all_of_it) as url, Client(url, make_key()) as client:
        for name in ("x", "y"):
            client.download_file(f"{url}/{name}", tmp_path / name)
            assert (tmp_path / name).read_bytes() == CONTENT


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_is_gone_on_from(tmp_path: Path, reset: bool) -> None:
    """Closed or reset in the middle of the body."""

    def cut(connection: socket.socket, start: int) -> None:
        connection.sendall(head(start) + CONTENT[start : start + 2 * _large.LARGE])
        if reset:
            time.sleep(0.05)  # what a reset overtakes is lost
            linger = b"\1\0\0\0\0\0\0\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    asked: list[int] = []

    def rest(connection: socket.socket, start: int) -> None:
        asked.append(start)
        all_of_it(connection, start)

    with server(cut, rest) as url:
        assert fetched(url, tmp_path / "x") == CONTENT
    assert asked[0] > 0


def test_a_body_that_stalls_ends_at_the_deadline(tmp_path: Path) -> None:
    """However much of it came before, and however slowly it goes on."""
    end = threading.Event()

    def drip(connection: socket.socket, start: int) -> None:
        connection.sendall(head(start) + CONTENT[start : start + _large.LARGE])
        while not end.wait(0.02):
            connection.sendall(b"x")

    with server(drip, drip) as url:
        begun = time.monotonic()
        with pytest.raises(DownloadError):
            fetched(url, tmp_path / "x", timeout=0.5)
        assert time.monotonic() - begun < 5  # it would drip for a day
        end.set()


@pytest.mark.parametrize(
    ("arrives", "asked"), [(65_483, 2 * _large.LEAST), (1, _large.LEAST), (10**7, _large.MOST)]
)
def test_as_much_is_asked_for_as_arrives(arrives: int, asked: int) -> None:
    """Segments a little below 64 KiB, as a loopback has them, do not make the pieces smaller."""
    seen: list[int] = []

    class Line(httpcore.NetworkStream):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            seen.append(max_bytes)
            return bytes(min(max_bytes, arrives))

    parts = {"network_stream": Line(), "http_version": b"HTTP/1.1"}
    response = httpx.Response(200, stream=httpx.ByteStream(b"x"), extensions=parts)
    body = iter(_large.pieces(response, {"content-length": str(10**8)}, time.monotonic() + 60))
    assert sum(len(next(body)) for _ in range(9)) == 1 + sum(min(n, arrives) for n in seen)
    assert seen[-1] == asked
