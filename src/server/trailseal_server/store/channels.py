"""Channels in the database: ingest endpoints with a policy (channels.py applies it)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, select, update

from . import micros
from .schema import channels

KEY_BYTES = 12


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel; None means no limit, or no protection. `created_at` in microseconds since 1970."""

    channel_key: str
    tenant_id: str | None
    name: str
    log_id: str | None
    allowed_sources: tuple[str, ...] | None
    allowed_schemas: tuple[str, ...] | None
    external_id: str | None
    created_at: int


def create(connection: Connection, tenant_id: str | None, policy: Mapping[str, Any]) -> Channel:
    """Make a channel of a tenant, or of nobody; `policy` is a `ChannelInput`."""
    channel_key = f"chn_{secrets.token_hex(KEY_BYTES)}"
    fixed = {"channel_key": channel_key, "tenant_id": tenant_id, "created_at": micros.now()}
    connection.execute(insert(channels).values({**_values(policy), **fixed}))
    return _required(connection, channel_key)


def find(connection: Connection, channel_key: str) -> Channel | None:
    """The channel of this key."""
    where = channels.c.channel_key == channel_key
    row = connection.execute(select(channels).where(where)).one_or_none()
    return None if row is None else of_row(row)


def replace(connection: Connection, channel_key: str, policy: Mapping[str, Any]) -> Channel:
    """Give a channel that exists another policy."""
    where = channels.c.channel_key == channel_key
    connection.execute(update(channels).where(where).values(_values(policy)))
    return _required(connection, channel_key)


def remove(connection: Connection, channel_key: str) -> None:
    """Forget a channel; its events stay."""
    connection.execute(delete(channels).where(channels.c.channel_key == channel_key))


def of_row(row: Row[Any]) -> Channel:
    """The channel of a row of the table."""
    values = {name: getattr(row, name) for name in Channel.__slots__}
    for name in ("allowed_sources", "allowed_schemas"):
        values[name] = None if values[name] is None else tuple(orjson.loads(values[name]))
    return Channel(**values)


def _required(connection: Connection, channel_key: str) -> Channel:
    return of_row(
        connection.execute(select(channels).where(channels.c.channel_key == channel_key)).one()
    )


def _values(policy: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: policy.get(name) for name in ("name", "log_id", "external_id")}
    for name in ("allowed_sources", "allowed_schemas"):
        values[name] = orjson.dumps(policy[name]) if name in policy else None
    return values
