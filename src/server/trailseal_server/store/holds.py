"""Legal holds: duties to keep one subject's events, or a whole log's. A row is never removed.

Rule: whoever places a hold, and whoever takes anything out of a log, holds the lock of the log's
row: nothing is taken out behind a hold that was placed.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ..problems import Problem
from . import micros
from .schema import legal_holds

ID_BYTES = 12
ERASED = "***"  # the subject of a released hold, once it was erased

_c = legal_holds.c


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a log: all of it, or these subjects' events."""

    whole: bool
    subjects: frozenset[str]

    def holds(self, subjects: Collection[str | None]) -> bool:
        """Whether an event that names these subjects must be kept as it is."""
        return self.whole or not self.subjects.isdisjoint(subjects)

    def refuse(self, subjects: Collection[str | None]) -> None:
        """Raises `Problem("legal_hold")` for such an event."""
        if self.holds(subjects):
            raise Problem("legal_hold", "A legal hold keeps these events; release it first")


def held(connection: Connection, log_id: str) -> Held:
    """The holds of a log that are in force."""
    rows = connection.execute(
        select(_c.subject).where(_c.log_id == log_id, _c.released_at.is_(None))
    ).scalars()
    found = set(rows)
    return Held(None in found, frozenset(each for each in found if each is not None))


def create(connection: Connection, log_id: str, key_id: str, given: Mapping[str, Any]) -> Row[Any]:
    """Place a hold; `given` is a `LegalHoldInput`."""
    values = {
        "log_id": log_id,
        "hold_id": f"hld_{secrets.token_hex(ID_BYTES)}",
        "subject": given.get("subject"),
        "reason": given["reason"],
        "created_at": micros.now(),
        "created_by": key_id,
    }
    connection.execute(insert(legal_holds).values(values))
    return one(connection, values["hold_id"])


def find(connection: Connection, hold_id: str) -> Row[Any] | None:
    """The hold, or None."""
    return connection.execute(select(legal_holds).where(_c.hold_id == hold_id)).one_or_none()


def one(connection: Connection, hold_id: str) -> Row[Any]:
    """A hold that is there."""
    return connection.execute(select(legal_holds).where(_c.hold_id == hold_id)).one()


def release(connection: Connection, row: Row[Any]) -> None:
    """End a hold; one that has ended stays as it is."""
    mine = (_c.log_id == row.log_id) & (_c.hold_id == row.hold_id)
    ended = update(legal_holds).where(mine, _c.released_at.is_(None))
    connection.execute(ended.values(released_at=micros.now()))


def forget(connection: Connection, log_id: str, subject: str) -> None:
    """Take a subject's id out of the holds that have ended."""
    mine = (_c.log_id == log_id) & (_c.subject == subject) & _c.released_at.is_not(None)
    connection.execute(update(legal_holds).where(mine).values(subject=ERASED))
