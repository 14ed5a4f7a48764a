"""Public keys of clients who sign their events, each of one log. No row is ever removed."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from . import micros
from .inserts import insert_missing
from .schema import signing_keys

_c = signing_keys.c


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A row of `signing_keys`: an Ed25519 key of 32 bytes; times in microseconds since 1970."""

    log_id: str
    key_id: str
    public_key: bytes
    owner: str | None
    created_at: int
    valid_from: int
    valid_to: int | None = None
    revoked_at: int | None = None


def add(connection: Connection, key: SigningKey) -> bool:
    """Store a key; False if its log has another one, or this one, by that id."""
    values = {name: getattr(key, name) for name in SigningKey.__slots__}
    return insert_missing(connection, signing_keys, values)


def find(connection: Connection, log_id: str, key_id: str) -> SigningKey | None:
    """A key of a log by its id."""
    query = select(signing_keys).where(_c.log_id == log_id, _c.key_id == key_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _key(row)


def count(connection: Connection, log_id: str) -> int:
    """How many keys a log has, revoked ones included."""
    query = select(func.count()).select_from(signing_keys).where(_c.log_id == log_id)
    return connection.execute(query).scalar_one()


def all_of(connection: Connection, log_id: str) -> list[SigningKey]:
    """The keys of a log, the oldest first; api/keys.py bounds their number."""
    query = select(signing_keys).where(_c.log_id == log_id).order_by(_c.created_at, _c.key_id)
    return [_key(row) for row in connection.execute(query)]


def revoke(connection: Connection, log_id: str, key_id: str) -> None:
    """End a key now; one that was revoked stays as it is."""
    active = (_c.log_id == log_id) & (_c.key_id == key_id) & _c.revoked_at.is_(None)
    connection.execute(update(signing_keys).where(active).values(revoked_at=micros.now()))


def _key(row: Row[Any]) -> SigningKey:
    return SigningKey(**row._asdict())
