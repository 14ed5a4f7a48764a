"""The driver below SQLAlchemy, for the few statements that each append and each proof makes: there
the layers between cost more than the statements; and how it reads many bytes."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


@cache
def _binary() -> Any:
    from psycopg import Cursor  # noqa: PLC0415 - 10 MB that SQLite does without
    from psycopg.pq import Format  # noqa: PLC0415 - as above

    class Binary(Cursor[Any]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.format = Format.BINARY

    return Binary


@contextmanager
def binary(connection: Connection) -> Iterator[None]:
    """PostgreSQL's results come in its binary format while the block runs: bytes, which the text
    format writes in hex, then cost both sides half."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "postgresql":
        yield
        return
    usual, driver.cursor_factory = driver.cursor_factory, _binary()
    try:
        yield
    finally:
        driver.cursor_factory = usual


@contextmanager
def cursor(connection: Connection) -> Iterator[Any]:
    """The driver's own cursor, in the same transaction; raises as SQLAlchemy does."""
    base = connection.dialect.loaded_dbapi.Error
    try:
        with closing(connection.connection.cursor()) as found:
            yield found
    except base as error:
        raise DBAPIError.instance(
            "append", None, error, base, hide_parameters=True, dialect=connection.dialect
        ) from error
