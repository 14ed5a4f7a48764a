"""A scripted HTTP transport, and one driver for both clients."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from trailseal import AsyncClient, Client

from ...sides import BothSides

URL = "http://server.test"


def make_key(key_id: str = "abcd1234", secret: str = "S" * 32) -> str:
    """An API key with a right checksum."""
    body = f"ts_{key_id}_{secret}"
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def answer(status: int = 200, body: object = None, **headers: str) -> httpx.Response:
    """A JSON answer; header names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body if body is not None else {}, headers=named)


class Script:
    """Answers requests one after the other from a list, and remembers them."""

    def __init__(self) -> None:
        self.steps: list[
            httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
        ] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step(request) if callable(step) else step

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


class Side(BothSides):
    """One of the two clients behind the same blocking calls."""

    def __init__(self, kind: type, script: Script) -> None:
        self.kind, self.script = kind, script
        super().__init__()

    def make(self, **options: Any) -> Any:
        return self.kind(
            URL, make_key(), http_transport=httpx.MockTransport(self.script), **options
        )


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def side(request: pytest.FixtureRequest, script: Script) -> Iterator[Side]:
    """The same call on both clients, over the same scripted transport."""
    one = Side(request.param, script)
    yield one
    one.close()
