"""The public keys that sign or signed this database's checkpoints: one row of `meta`, as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import orjson
from sqlalchemy import Connection, select, update

from . import micros
from .inserts import insert_missing
from .schema import meta

_NAME = "checkpoint_keys"


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """A key; `since` and `retired_at` in microseconds since 1970."""

    public_key: str  # hex
    since: int
    retired_at: int | None = None


def known(connection: Connection, *, lock: bool = False) -> list[CheckpointKey]:
    """All of them, the oldest first."""
    query = select(meta.c.value).where(meta.c.name == _NAME)
    found = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    return [CheckpointKey(**each) for each in orjson.loads(found or "[]")]


def keep(connection: Connection, signing: Sequence[bytes], retired: Sequence[bytes]) -> None:
    """Remember the keys that sign now, and that others do so no more."""
    insert_missing(connection, meta, {"name": _NAME, "value": "[]"})
    now, ended = micros.now(), {each.hex() for each in retired}
    before = known(connection, lock=True)
    after = [
        replace(each, retired_at=now) if each.public_key in ended and not each.retired_at else each
        for each in before
    ]
    here = {each.public_key for each in before}
    after += [CheckpointKey(each.hex(), now) for each in signing if each.hex() not in here]
    if after != before:
        value = orjson.dumps([asdict(each) for each in after]).decode()
        connection.execute(update(meta).where(meta.c.name == _NAME).values(value=value))
