"""Both clients are one surface."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from trailseal import AsyncClient, Client, _boto, _privacy, _schemas

GENERATOR = Path(__file__).parents[3] / "generator" / "blocking.py"
DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__init__": "__init__"}
ONLY_ASYNC = " | AsyncIterable[EventLike]"  # the one thing that only an async client can take


ONE_SIDE = "Iterator|LegalHolds|Pager|Paginator|RedactionPolicies|Run|Schemas|Search|Waiter"


PAIRS = [(Client, AsyncClient), (_schemas.Schemas, _schemas.AsyncSchemas)]
PAIRS += [(_privacy.LegalHolds, _privacy.AsyncLegalHolds)]
PAIRS += [(_privacy.RedactionPolicies, _privacy.AsyncRedactionPolicies)]
PAIRS += [(_boto.Paginator, _boto.AsyncPaginator), (_boto.Waiter, _boto.AsyncWaiter)]


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
        signature = re.sub(rf"Async({ONE_SIDE})", r"\1", text)
        found[DUNDERS.get(name, name)] = (signature, function.__doc__)
    return found


@pytest.mark.row("P-14")
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_clients_have_the_same_methods_parameters_defaults_and_texts(
    one: type, other: type
) -> None:
    """Whoever knows one client knows the other."""
    assert surface(one) == surface(other)
    assert one.__doc__ == other.__doc__


def test_the_blocking_client_is_what_the_asynchronous_one_makes() -> None:
    """`client.py` is generated: a change belongs into `async_client.py`."""
    command = [sys.executable, str(GENERATOR), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_method_has_a_text() -> None:
    """No method is left to guessing."""
    assert [
        name for name, (_, text) in surface(Client).items() if name[0] != "_" and not text
    ] == []
