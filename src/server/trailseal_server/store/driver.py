"""The driver below SQLAlchemy, for the few statements that each append makes: there the layers
between cost more than the statements."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


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
