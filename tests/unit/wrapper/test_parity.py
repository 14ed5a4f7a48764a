"""Both clients are one surface."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from trailseal import AsyncClient, Client

GENERATOR = Path(__file__).parents[3] / "generator" / "blocking.py"
DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__init__": "__init__"}

ROOMS = ["boto", "pagers", "privacy", "schemas"]  # those with classes of their own


def made(room: str) -> Iterator[tuple[type, type]]:
    """The public classes of a generated module, each with its source."""
    one, other = (import_module(f"trailseal.{side}.{room}") for side in ("_blocking", "_async"))
    for name, kind in vars(one).items():
        if inspect.isclass(kind) and kind.__module__ == one.__name__:
            yield kind, getattr(other, f"Async{name}")


PAIRS = [(Client, AsyncClient), *(pair for room in ROOMS for pair in made(room))]


def surface(kind: type) -> dict[str, tuple[str, str]]:
    """Names with parameters, defaults, types and texts, as the blocking side writes them."""
    found = {}
    for name in dir(kind):
        if name.startswith("_") and name not in {*DUNDERS, *DUNDERS.values()}:
            continue
        member = inspect.getattr_static(kind, name)
        function = member.fget if isinstance(member, property) else getattr(kind, name)
        if callable(function):
            signature = blocking(str(inspect.signature(function)))
            found[DUNDERS.get(name, name)] = (signature, blocking(function.__doc__))
    return found


def blocking(text: str | None) -> str:
    """A signature or text without what only the asynchronous side has."""
    for pattern in (r" \| AsyncIterable\[EventLike\]", " with `async for`", r"\bAsync(?=[A-Z])"):
        text = re.sub(pattern, "", text or "")
    return re.sub(r"\bAwaitable\[(\w+)\]", r"\1", text or "")


@pytest.mark.row("P-14")
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_clients_have_the_same_methods_parameters_defaults_and_texts(
    one: type, other: type
) -> None:
    """Whoever knows one client knows the other."""
    assert surface(one) == surface(other)
    assert blocking(one.__doc__) == blocking(other.__doc__)


def test_the_blocking_client_is_what_the_asynchronous_one_makes() -> None:
    """What is generated is never edited: a change belongs into `async_client.py` or `_async`."""
    command = [sys.executable, str(GENERATOR), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_method_has_a_text() -> None:
    """No method is left to guessing."""
    assert [
        name for name, (_, text) in surface(Client).items() if name[0] != "_" and not text
    ] == []
