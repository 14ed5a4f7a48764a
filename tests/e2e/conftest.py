"""Both clients of a real server, behind the same blocking calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from trailseal import AsyncClient, Client
from trailseal_server.app import Running


class Side:
    """One of the two clients behind the same blocking calls."""

    def __init__(self, kind: type, server: Running) -> None:
        self._kind, self._server = kind, server
        self._loop = asyncio.new_event_loop()
        self.client = self.make()

    def make(self, **options: Any) -> Any:
        return self._kind(**{"base_url": self._server.url, "api_key": self._server.key, **options})

    def __call__(self, name: str, *args: Any, client: Any = None, **options: Any) -> Any:
        return self.settle(getattr(client or self.client, name)(*args, **options))

    def settle(self, value: Any) -> Any:
        return self._loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def listed(self, pager: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in pager]

        return (
            self._loop.run_until_complete(collect()) if hasattr(pager, "__aiter__") else list(pager)
        )

    def close(self) -> None:
        self("close")
        self._loop.close()


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def side(request: pytest.FixtureRequest, server: Running) -> Iterator[Side]:
    """The same call on both clients."""
    one = Side(request.param, server)
    yield one
    one.close()
