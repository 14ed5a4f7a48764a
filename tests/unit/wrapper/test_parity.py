"""Both clients are one surface."""

from __future__ import annotations

import inspect
import re

from trailseal import AsyncClient, Client

DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__init__": "__init__"}
ONLY_ASYNC = " | AsyncIterable[EventLike]"  # the one thing that only an async client can take


def surface(kind: type) -> dict[str, tuple[str, str | None]]:
    """Names with parameters, defaults, types and texts, as the other side would write them."""
    found = {}
    for name, member in vars(kind).items():
        if name.startswith("_") and name not in {*DUNDERS, *DUNDERS.values()}:
            continue
        function = (
            member.fget if isinstance(member, property) else inspect.unwrap(getattr(kind, name))
        )
        text = str(inspect.signature(function)).replace(ONLY_ASYNC, "")
        signature = re.sub(r"Async(Pager|Search)", r"\1", text)
        found[DUNDERS.get(name, name)] = (signature, function.__doc__)
    return found


def test_both_clients_have_the_same_methods_parameters_defaults_and_texts() -> None:
    """Whoever knows one client knows the other."""
    assert surface(Client) == surface(AsyncClient)
    assert Client.__doc__ == AsyncClient.__doc__


def test_every_public_method_has_a_text() -> None:
    """No method is left to guessing."""
    assert [
        name for name, (_, text) in surface(Client).items() if name[0] != "_" and not text
    ] == []
