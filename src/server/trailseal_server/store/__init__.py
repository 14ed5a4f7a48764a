"""All SQL of the server lives here, in small rooms; nothing outside this package writes any.

Others hold a `Connection` from one call to the next, and catch what a database can raise.
"""

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from .engine import Store, trouble

__all__ = [
    "Connection",
    "IntegrityError",
    "OperationalError",
    "SQLAlchemyError",
    "Store",
    "trouble",
]
