"""The outbox in SQLAlchemy: a table for your metadata, and `log` into your session.

outbox = Outbox(outbox_table(Base.metadata))      # alembic finds it there

with Session(engine) as session, session.begin():
    outbox.log(session, "invoice.deleted", actor="user_1", resource=("invoice", "inv_1"))
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Unpack

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from trailseal._events import EventFields, EventLike
from trailseal._models import Receipt
from trailseal.delivery import Item
from trailseal.errors import DeliveryError
from trailseal.integrations.outbox._rows import (
    MAX_CODE,
    MAX_ID,
    MAX_LOG_ID,
    TABLE,
    row,
)

MAX_PARKED = 1000  # shown at a time


def outbox_table(metadata: MetaData, name: str = TABLE, schema: str | None = None) -> Table:
    """Add the table to your metadata; create it by your migrations, or with `create_all`."""
    return Table(
        name,
        metadata,
        Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("event_id", String(MAX_ID), nullable=False),
        Column("log_id", String(MAX_LOG_ID)),
        Column("content", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("parked_code", String(MAX_CODE)),
        Column("parked_detail", Text),
        schema=schema,
        sqlite_autoincrement=True,  # a key that came again could delete another's event
    )


class Outbox:
    """Writes events to the table, in the transaction of your session or connection.

    Args:
        table: Made by `outbox_table`; else one of that name, in no metadata of yours.
        tenant: Filled into events that name none.
    """

    def __init__(self, table: Table | None = None, *, tenant: str | None = None) -> None:
        self.table = outbox_table(MetaData()) if table is None else table
        self._tenant = tenant

    def log(
        self,
        session: Session | Connection,
        action: str,
        *,
        log_id: str | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """Write that something was done; it is sent after your commit, and never after a rollback.

        The fields are those of `Client.log`. The receipt's state is `accepted`, its index -1;
        `event_id` is final.

        Raises:
            EventValidationError: A field is unknown, missing or too long; nothing is written.
        """
        return self.log_event(session, {"action": action, **fields}, log_id=log_id)

    def log_event(
        self, session: Session | Connection, event: EventLike, *, log_id: str | None = None
    ) -> Receipt:
        """Write an event given as a mapping; else as `log`."""
        values, receipt = row(event, log_id=log_id, tenant=self._tenant)
        session.execute(insert(self.table).values(**values))
        return receipt

    async def alog(
        self,
        session: AsyncSession | AsyncConnection,
        action: str,
        *,
        log_id: str | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """As `log`, for sessions of asyncio."""
        return await self.alog_event(session, {"action": action, **fields}, log_id=log_id)

    async def alog_event(
        self,
        session: AsyncSession | AsyncConnection,
        event: EventLike,
        *,
        log_id: str | None = None,
    ) -> Receipt:
        """As `log_event`, for sessions of asyncio."""
        values, receipt = row(event, log_id=log_id, tenant=self._tenant)
        await session.execute(insert(self.table).values(**values))
        return receipt


class SQLAlchemyRows:
    """The table as a `Relay` reads it, over one connection.

    Args:
        engine: Of the application's database; a relay of asyncio's drivers needs one of its own.
        table: As of `Outbox`.
    """

    def __init__(self, engine: Engine, table: Table | None = None) -> None:
        self._engine = engine
        self._table = outbox_table(MetaData()) if table is None else table
        self._waits = self._table.c.parked_code.is_(None)
        self._open: Connection | None = None

    def count(self, most: int) -> int:
        """See `Rows`."""
        few = select(self._table.c.key).where(self._waits).limit(most).subquery()
        with self._transaction() as connection:
            return connection.execute(select(func.count()).select_from(few)).scalar_one()

    def select(
        self, limit: int, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """See `Rows`."""
        table = self._table.c
        columns = (table.key, table.event_id, table.log_id, table.content)
        query = select(*columns).where(self._waits).order_by(table.key).limit(limit)
        if skip_keys:
            query = query.where(table.key.not_in(skip_keys))
        if named := [name for name in skip_logs if name is not None]:
            query = query.where(or_(table.log_id.is_(None), table.log_id.not_in(named)))
        if None in skip_logs:
            query = query.where(table.log_id.is_not(None))
        with self._transaction(keep=self._engine.dialect.name != "sqlite") as connection:
            found = connection.execute(query.with_for_update(skip_locked=True)).all()
        return [Item(key, event_id, log_id, text.encode()) for key, event_id, log_id, text in found]

    def delete(self, keys: Collection[int]) -> None:
        """See `Rows`."""
        with self._transaction() as connection:
            connection.execute(delete(self._table).where(self._table.c.key.in_(keys)))

    def park(self, key: int, code: str, detail: str) -> None:
        """See `Rows`."""
        values = {"parked_code": code, "parked_detail": detail}
        with self._transaction() as connection:
            connection.execute(update(self._table).where(self._table.c.key == key).values(**values))

    def end(self) -> None:
        """See `Rows`."""
        if self._open is not None:
            with self._transaction():
                pass

    def requeue(self) -> int:
        """See `Rows`."""
        values = {"parked_code": None, "parked_detail": None}
        with self._transaction() as connection:
            return connection.execute(
                update(self._table).where(~self._waits).values(**values)
            ).rowcount

    def parked(self) -> Sequence[tuple[str, str, str]]:
        """See `Rows`."""
        table = self._table.c
        query = select(table.event_id, table.parked_code, table.parked_detail).where(~self._waits)
        with self._transaction() as connection:
            return [(*each,) for each in connection.execute(query.limit(MAX_PARKED))]

    @contextmanager
    def _transaction(self, *, keep: bool = False) -> Iterator[Connection]:
        """The open transaction, or a new one; committed at the end unless it is kept."""
        try:
            if self._open is None:
                self._open = self._engine.connect()
            yield self._open
            if not keep:
                self._open.commit()
        except SQLAlchemyError as error:
            keep = False
            text = f"The outbox's database failed: {type(error).__name__}."
            raise DeliveryError(text) from error
        finally:
            if not keep and self._open is not None:
                connection, self._open = self._open, None
                connection.close()
