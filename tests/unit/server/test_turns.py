"""Whose turn it is to take a connection (turns.py)."""

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server import turns
from trailseal_server.turns import SOME, Turn, Turns

WAIT_S = 30.0
OPEN = st.lists(st.integers(0, 1000), min_size=2, max_size=8)


class Answering(asyncio.Protocol):
    """Says a byte to whoever connects."""

    def connection_made(self, transport: Any) -> None:  # uvloop's are no asyncio.Transport
        transport.write(b"!")
        transport.close()


class Asked(asyncio.Protocol):
    """Says a byte to whoever has said something."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, _data: bytes) -> None:
        self._transport.write(b"!")
        self._transport.close()


async def take(turn: Turn, connections: int = 0) -> None:
    """Be a client of a process that takes connections in turn, and has so many open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        turn.start(listener, Answering, lambda: connections)
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b"!"
            writer.close()
        await turn.stop()


@given(OPEN)
def test_whoever_has_the_fewest_connections_takes_the_next(connections: list[int]) -> None:
    """Of all processes at least that one; and nobody who has notably more."""
    all_ = Turns(len(connections))
    for process, count in enumerate(connections):
        all_.publish(process, count)
    fewest = min(connections)
    for process, count in enumerate(connections):
        assert all_.has_more(process) == (count - fewest > count // SOME)
    assert not all_.has_more(connections.index(fewest))


@given(OPEN)
def test_a_process_that_does_not_serve_is_not_waited_for(connections: list[int]) -> None:
    """Neither before it has started nor after its end."""
    all_ = Turns(len(connections) + 1)
    for process, count in enumerate(connections):
        all_.publish(process, count)
    assert not all_.has_more(connections.index(min(connections)))
    all_.publish(len(connections), 0)
    all_.withdraw(len(connections))
    assert not all_.has_more(connections.index(min(connections)))


def test_a_connection_is_taken_even_if_whose_turn_it_is_does_not_come() -> None:
    """A process that hangs makes others wait for a moment, and not for ever."""
    both = Turns(2)
    both.publish(1, 0)
    asyncio.run(take(Turn(both, 0), connections=100))


def test_what_stopped_is_not_waited_for_again() -> None:
    """A tick that comes after the end does not publish anew."""
    both = Turns(2)
    both.publish(1, 5)
    turn = Turn(both, 0)
    asyncio.run(take(turn))
    turn.publish()
    assert not both.has_more(1)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_was_taken_is_served_though_the_end_comes(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Who stops while a connection is being made is told so when it is made."""

    tasks: list[asyncio.Task[None]] = []

    async def main() -> bytes:
        turn, ended = Turn(Turns(1), 0), asyncio.Event()

        async def stop() -> None:
            await turn.stop()
            ended.set()

        def made() -> asyncio.Protocol:
            tasks.append(asyncio.ensure_future(stop()))
            return Asked()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            turn.start(listener, made, int)
            async with asyncio.timeout(WAIT_S):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                await ended.wait()
                writer.write(b"?")
                answer = await reader.read()
                writer.close()
                return answer

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()) == b"!"


def test_connections_wait_until_there_are_files_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the process has no file left, it says so, and takes them later."""
    monkeypatch.setattr(turns, "EXHAUSTED_S", 0.01)

    async def starved() -> None:
        turn = Turn(Turns(1), 0)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            turn.start(listener, Answering, int)
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                free = os.dup(0)
                os.close(free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
                try:
                    async with asyncio.timeout(WAIT_S):
                        while "no connection can be taken" not in caplog.text:  # noqa: ASYNC110 - a log
                            await asyncio.sleep(0.01)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                async with asyncio.timeout(WAIT_S):
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b"!"
            await turn.stop()

    asyncio.run(starved())
