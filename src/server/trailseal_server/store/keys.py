"""API keys: `ts_<id>_<secret>_<crc32>`, of which the database keeps a SHA-256.

Rules:
- Id and secret are lower-case hex; the CRC-32 (8 hex digits) covers all before its underscore, so
  that a mistyped key is refused before any I/O.
- A secret has 256 random bits: a plain hash is enough, there is nothing to guess.
- The key is shown once, when it is made. `key_id` is `key_<id>`.
"""

import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, insert, select, update

from . import micros
from .inserts import insert_missing
from .schema import api_keys, meta

ID_BYTES = 8
SECRET_BYTES = 32

_KEY = re.compile(r"(ts_([0-9a-f]{16})_[0-9a-f]{64})_([0-9a-f]{8})", re.ASCII)

_NOBODYS = bytes(32)  # compared with where there is no such key, so that it costs the same


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key without its secret; times in microseconds since 1970."""

    key_id: str
    name: str
    tenant_id: str | None
    default_log: str | None
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


def key_id_of(key: str) -> str | None:
    """The id of a well-formed key, or None; no I/O."""
    found = _KEY.fullmatch(key)
    if found is None or f"{zlib.crc32(found[1].encode()):08x}" != found[3]:
        return None
    return f"key_{found[2]}"


def create(
    connection: Connection,
    *,
    name: str,
    scopes: Iterable[str],
    tenant_id: str | None = None,
    default_log: str | None = None,
    expires_at: int | None = None,
) -> tuple[KeyRow, str]:
    """Make a key: its row, and the key itself, which is shown now or never."""
    number = secrets.token_hex(ID_BYTES)
    body = f"ts_{number}_{secrets.token_hex(SECRET_BYTES)}"
    key = f"{body}_{zlib.crc32(body.encode()):08x}"
    granted = frozenset(scopes)
    row = KeyRow(
        f"key_{number}", name, tenant_id, default_log, granted, micros.now(), expires_at, None
    )
    values = {column: getattr(row, column) for column in KeyRow.__slots__}
    values |= {"scopes": " ".join(sorted(granted)), "secret_hash": sha256(key.encode()).digest()}
    connection.execute(insert(api_keys).values(values))
    return row, key


def find(connection: Connection, key: str) -> KeyRow | None:
    """The row of a key that was sent, or None; whether it expired or was revoked is the row's."""
    key_id = key_id_of(key)
    if key_id is None:
        return None
    row = connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).one_or_none()
    stored = _NOBODYS if row is None else row.secret_hash
    if not secrets.compare_digest(stored, sha256(key.encode()).digest()) or row is None:
        return None
    values = row._asdict()
    del values["secret_hash"]
    return KeyRow(**{**values, "scopes": frozenset(row.scopes.split())})


def any_exists(connection: Connection) -> bool:
    """Whether the database has a key at all."""
    return connection.execute(select(api_keys.c.key_id).limit(1)).first() is not None


def claim_first(connection: Connection) -> bool:
    """Whether this transaction may make the database's first key; one that is faster is waited for,
    and then this one may not."""
    if any_exists(connection):
        return False
    return insert_missing(connection, meta, {"name": "first_key", "value": str(micros.now())})


def revoke(connection: Connection, key_id: str) -> bool:
    """End a key now; False if there is none that was still in force."""
    alive = (api_keys.c.key_id == key_id) & api_keys.c.revoked_at.is_(None)
    ended = update(api_keys).where(alive).values(revoked_at=micros.now())
    return connection.execute(ended).rowcount == 1


def expire(connection: Connection, key_id: str, at: int) -> None:
    """Let a key end at `at`, unless it ends before."""
    later = api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > at)
    mine = api_keys.c.key_id == key_id
    connection.execute(update(api_keys).where(mine, later).values(expires_at=at))
