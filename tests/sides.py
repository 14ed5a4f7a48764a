"""Both clients behind the same blocking calls."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from typing import Any


class BothSides(ABC):
    """One of the two clients; a test that takes it runs once for each."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.client = self.make()

    @abstractmethod
    def make(self, **options: Any) -> Any:
        """Make a client with further options."""

    def __call__(self, name: str, *args: Any, client: Any = None, **options: Any) -> Any:
        return self.settle(getattr(client or self.client, name)(*args, **options))

    def settle(self, value: Any) -> Any:
        return self._loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def listed(self, pager: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in pager]

        return self.settle(collect()) if hasattr(pager, "__aiter__") else list(pager)

    def close(self) -> None:
        self("close")
        self._loop.close()
