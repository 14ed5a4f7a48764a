"""Both clients of a real server, behind the same blocking calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from trailseal import AsyncClient, Client
from trailseal_server.app import Running

from ..sides import BothSides


class Side(BothSides):
    """One of the two clients behind the same blocking calls."""

    def __init__(self, kind: type, server: Running) -> None:
        self._kind, self._server = kind, server
        super().__init__()

    def make(self, **options: Any) -> Any:
        return self._kind(**{"base_url": self._server.url, "api_key": self._server.key, **options})


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def side(request: pytest.FixtureRequest, server: Running) -> Iterator[Side]:
    """The same call on both clients."""
    one = Side(request.param, server)
    yield one
    one.close()
