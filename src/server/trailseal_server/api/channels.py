"""Channels: their policies. What they do to events is in channels.py of the server."""

from typing import Any

from starlette.responses import Response

from ..channels import find
from ..contract import operation
from ..problems import Problem
from ..store import channels, listings, micros
from ..store.channels import Channel
from ..targets import resolve_log
from ._http import ServerCall, answer, empty
from ._once import once

OPTIONAL = ("log_id", "allowed_sources", "allowed_schemas", "external_id")


@operation("createChannel")
def create_channel(call: ServerCall) -> Response:
    """Make a channel of the key's tenant."""

    def create() -> tuple[int, Any]:
        with call.services.store.write() as connection:
            _check_log(call, connection)
            return 201, _show(channels.create(connection, call.caller.tenant_id, call.body))

    return once(call, create)


@operation("listChannels")
def list_channels(call: ServerCall) -> Response:
    """A page of channels; a tenant-bound key sees its tenant's."""
    page = listings.channel_page(call.services.reader, call.params, call.caller.tenant_id, _show)
    return answer(page)


@operation("getChannel")
def get_channel(call: ServerCall) -> Response:
    """One channel."""
    with call.services.store.read() as connection:
        return answer(_show(_own(call, connection)))


@operation("updateChannel")
def update_channel(call: ServerCall) -> Response:
    """Replace a channel's policy; it counts from the next request."""
    with call.services.store.write() as connection:
        found = _own(call, connection)
        _check_log(call, connection)
        return answer(_show(channels.replace(connection, found.channel_key, call.body)))


@operation("deleteChannel")
def delete_channel(call: ServerCall) -> Response:
    """End a channel; its events stay."""
    with call.services.store.write() as connection:
        channels.remove(connection, _own(call, connection).channel_key)
    return empty()


def _own(call: ServerCall, connection: Any) -> Channel:
    """A channel that the caller may administer: one of its tenant, unless the key has none."""
    found = find(connection, call.caller, call.params["channel_key"])
    if call.caller.tenant_id not in {None, found.tenant_id}:
        raise Problem("channel_not_found", "There is no such channel")
    return found


def _check_log(call: ServerCall, connection: Any) -> None:
    """The channel's log must be there, and in the caller's reach."""
    if "log_id" in call.body:
        resolve_log(connection, call.caller, call.body["log_id"], None)


def _show(channel: Channel) -> dict[str, Any]:
    told = {name: getattr(channel, name) for name in OPTIONAL}
    return {
        "channel_key": channel.channel_key,
        "name": channel.name,
        "created_at": micros.text(channel.created_at),
        **{name: value for name, value in told.items() if value is not None},
    }
