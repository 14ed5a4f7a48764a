"""What every operation's flow does: make a request, send it with retries, read the answer.

1. A disabled client sends nothing: it raises, unless a write has answered before.
2. Any status but the documented successes is an error.
3. A list that is fetched whole ends within `MAX_PAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trailseal_api.types import UNSET

from trailseal._events import encode
from trailseal._flow import Content, Flow, Request, Response
from trailseal._ids import uuid7
from trailseal._json import loads
from trailseal._retry import Policy, attempts
from trailseal.config import Settings
from trailseal.errors import ConfigurationError, UnexpectedResponseError

PAGE = 1000  # items, the contract's most
MAX_PAGES = 100  # 100,000 keys, schemas, erasures or holds: more is a loop

Raw = dict[str, Any]


class _Body(Raw):
    """A body that travels as it is: a model would drop or reorder what it does not know."""

    def to_dict(self) -> Raw:
        return self


def body(raw: Mapping[str, Any]) -> Any:
    """Wrap a request body for `request_kwargs`; None members are left out."""
    return _Body({name: value for name, value in raw.items() if value is not None})


def request(settings: Settings, kwargs: Raw, content: bytes | Content | None = None) -> Request:
    """Make a request of what a generated `request_kwargs` built."""
    if settings.disabled:
        raise ConfigurationError(
            "This client is disabled (TRAILSEAL_DISABLED): it only takes events."
        )
    if content is None and "json" in kwargs:
        content = encode(kwargs["json"])
    headers = {**settings.headers, **kwargs.get("headers", {}), "Request-Id": uuid7()}
    return Request(kwargs["method"], kwargs["url"], kwargs.get("params", {}), headers, content)


def call(
    settings: Settings,
    kwargs: Raw,
    *,
    content: bytes | Content | None = None,
    replayable: bool | None = None,
    accept: tuple[int, ...] = (200,),
    after: float = 0.0,
) -> Flow[Response]:
    """Send what a generated `request_kwargs` built; return an answer of an accepted status."""
    made = request(settings, kwargs, content)
    policy = Policy(settings.max_retries, budget=settings.budget, hooks=settings.hooks)
    response = yield from attempts(made, policy, replayable=replayable, after=after)
    if response.status not in accept:
        raise UnexpectedResponseError(
            f"Status {response.status} is none of this call.", status=response.status
        )
    return response


def decoded(response: Response) -> Raw:
    """Read a JSON object; anything else raises `UnexpectedResponseError`."""
    try:
        raw = loads(response.content)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise UnexpectedResponseError(
            f"The answer of {len(response.content)} bytes is no JSON object.",
            status=response.status,
            request_id=response.headers.get("request-id"),
        )
    return raw


def all_items(settings: Settings, operation: Any, **given: Any) -> Flow[list[Raw]]:
    """Fetch all pages of a list; `operation` is the generated module, None is left out."""
    found: list[Raw] = []
    values = {name: or_unset(value) for name, value in given.items()}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        kwargs = operation.request_kwargs(**values, limit=PAGE, cursor=or_unset(cursor))
        raw = decoded((yield from call(settings, kwargs)))
        found += raw.get("items") or []
        cursor = raw.get("next_cursor")
        if cursor is None:
            return found
    raise UnexpectedResponseError("The list does not end.")


def or_unset(value: object) -> Any:
    return UNSET if value is None else value
