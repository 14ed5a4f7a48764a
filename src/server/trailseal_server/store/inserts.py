"""Inserting what another process may have inserted first, without spoiling the transaction."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


def insert_missing(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its keys is taken; whether it was inserted."""
    insert = _INSERT[connection.dialect.name](table).values(dict(values))
    count_it = insert.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return connection.execute(count_it).rowcount == 1
