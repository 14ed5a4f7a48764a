"""What a web request tells of its events; what ASGI, WSGI, Flask and Django have in common.

1. The IP address is the peer's. `X-Forwarded-For` is read from the right, for as long as the
   address that wrote an entry is a proxy of `trusted_proxies`: anyone can send the rest.
2. A request id is taken over if it is a plain one, else it is made; the answer carries it too.
3. `traceparent` (W3C Trace Context) gives trace and span.
4. The user is looked up when an event needs it, and never for a request that logs nothing. A
   lookup that fails leaves the actor out, and is logged without what it said.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from trailseal._context import _current, joined
from trailseal._events import ActorLike
from trailseal._ids import uuid7
from trailseal.errors import ConfigurationError

REQUEST_ID_HEADER = "X-Request-ID"
MAX_USER_AGENT = 1024  # characters, of the contract
MAX_HOPS = 32  # proxies in a row; a longer list is an attack
UNIX = "unix"  # stands for a peer that has no address: a proxy at a Unix socket

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")  # fit for logs, headers and URLs
_TRACE = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)
_BRACKETS = re.compile(r"\[([^\]]*)\](?::\d+)?")
_PORT = re.compile(r"([0-9.]+):\d+")

Address = IPv4Address | IPv6Address
Lookup = Callable[[], ActorLike | None]
Header = Callable[[str], str | None]  # a request's header by its lower-case name; several joined

_log = logging.getLogger("trailseal")
_request: ContextVar[dict[str, Any] | None] = ContextVar("trailseal_request", default=None)


class Proxies:
    """The proxies whose `X-Forwarded-For` is believed.

    Args:
        trusted: Networks or addresses, such as `10.0.0.0/8` and `::1`, and `unix`.

    Raises:
        ConfigurationError: One of them is neither.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        if isinstance(trusted, str):
            raise ConfigurationError("trusted_proxies must be a list of networks, not one string.")
        names = set(trusted)
        self._unix = UNIX in names
        self._networks: list[IPv4Network | IPv6Network] = []
        for name in sorted(names - {UNIX}):
            try:
                self._networks.append(ip_network(name))
            except ValueError:
                text = f"trusted_proxies: {name!r} is no network such as 10.0.0.0/8, nor 'unix'."
                raise ConfigurationError(text) from None

    def client(self, peer: str | None, forwarded: str | None) -> str | None:
        """The address of whoever sent the request, or None if nobody can tell."""
        client = None if peer is None else _address(peer)
        believed = self._trusts(client) if client else self._unix and not peer
        if believed and forwarded:
            for hop in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
                address = _address(hop.strip())
                if address is None:  # a proxy passed on what is no address: nobody vouches further
                    break
                client = address
                if not self._trusts(address):
                    break
        return None if client is None else str(client)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Read an address, with or without a port or a zone."""
    if matched := _BRACKETS.fullmatch(text) or _PORT.fullmatch(text):
        text = matched[1]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


class Requests:
    """How requests are read, the same in every framework.

    Args:
        trusted_proxies: See `Proxies`; none by default.
        request_id_header: The header with the request's id, read and written.
    """

    def __init__(
        self, trusted_proxies: Iterable[str] = (), request_id_header: str = REQUEST_ID_HEADER
    ) -> None:
        self._proxies = Proxies(trusted_proxies)
        if not _HEADER.fullmatch(request_id_header):
            raise ConfigurationError(
                "request_id_header must be a header's name: letters, digits, -."
            )
        self.request_id_header = request_id_header

    def context(self, peer: str | None, header: Header) -> dict[str, str]:
        """The event's `context`: `request_id` always, the rest as far as it is known."""
        given = header(self.request_id_header.lower()) or ""
        agent = header("user-agent")
        trace = _TRACE.fullmatch(header("traceparent") or "")
        told = {
            "request_id": given if _REQUEST_ID.fullmatch(given) else uuid7(),
            "source_ip": self._proxies.client(peer, header("x-forwarded-for")),
            "user_agent": agent[:MAX_USER_AGENT] if agent else None,
            "trace_id": trace[1] if trace else None,
            "span_id": trace[2] if trace else None,
        }
        return {name: value for name, value in told.items() if value is not None}


def begin(context: Mapping[str, str], user: Lookup) -> dict[str, Any]:
    """Let what is logged from now on, in this context, carry a request's fields."""
    fields = {**joined(_current.get(), {"context": context}), "actor": asked(user)}
    _current.set(fields)
    _request.set(fields)
    return fields


@contextmanager
def during(fields: dict[str, Any]) -> Iterator[None]:
    """Fill the fields of a request that has begun into what is logged inside."""
    tokens = _current.set(fields), _request.set(fields)
    try:
        yield
    finally:
        _current.reset(tokens[0])
        _request.reset(tokens[1])


@contextmanager
def scope(context: Mapping[str, str], user: Lookup) -> Iterator[dict[str, Any]]:
    """As `begin`, until the end of the block."""
    tokens = _current.set(_current.get()), _request.set(None)
    try:
        yield begin(context, user)
    finally:
        _current.reset(tokens[0])
        _request.reset(tokens[1])


def in_request() -> bool:
    """Tell whether a middleware has begun a request here."""
    return _request.get() is not None


def identify(actor: ActorLike | Lookup) -> None:
    """Name the user of the current request, where an endpoint finds it out (a token, a login).

    Args:
        actor: As `log` takes it, or a function that finds it when an event needs it.

    Raises:
        ConfigurationError: There is no request that the middleware has seen.
    """
    fields = _request.get()
    if fields is None:
        raise ConfigurationError("identify needs a request: add the AuditMiddleware.")
    fields["actor"] = asked(actor) if callable(actor) else actor


def asked(user: Lookup) -> Lookup:
    """A lookup of the user that never fails (rule 4)."""

    def ask() -> ActorLike | None:
        try:
            return user()
        except Exception as error:  # noqa: BLE001  # the event matters more than its actor
            _log.warning("the user of a request cannot be looked up: %s", type(error).__name__)
            return None

    return ask


def actor_of(user: Any) -> ActorLike | None:
    """The actor that a framework's user object is, or None if nobody has logged in.

    An object needs `is_authenticated`, and its id as `pk`, `get_id()`, `identity`, `username` or
    `display_name`; a text or a mapping is an actor already.
    """
    if user is None or isinstance(user, str | Mapping):
        return user
    if not getattr(user, "is_authenticated", False):
        return None
    for name in ("pk", "get_id", "identity", "username", "display_name"):
        try:
            found = getattr(user, name, None)
            found = found() if callable(found) else found
        except NotImplementedError:  # what Starlette's own users do
            continue
        if found not in (None, ""):
            actor = {"id": str(found), "type": "user"}
            shown = getattr(user, "get_username", None)
            return {**actor, "name": str(shown())} if callable(shown) else actor
    return None
