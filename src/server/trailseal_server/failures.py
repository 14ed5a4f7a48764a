"""What nobody foresaw: what a client is told about it, and what the log is.

Rules:
- A full disk is 507 and a database that is away or busy 503, whatever the operation was.
- An account for the log has types, places and the messages that cannot hold what was sent: those
  of this server, of the operating system and of SQLite. PostgreSQL's name values (DETAIL, CONTEXT,
  even the first line), as a library's may: of those, the SQLSTATE or the type must do.
"""

import errno
import sqlite3
import traceback
from collections.abc import Iterator

from .problems import Problem
from .store import trouble

RETRY_AFTER_S = 1.0
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_OURS = __package__ or "trailseal_server"


def problem_of(error: Exception) -> Problem:
    """What the client is told: a Problem itself; `internal_error` if it is no use to try again."""
    if isinstance(error, Problem):
        return error
    reason = trouble(error)
    if reason == "full" or (isinstance(error, OSError) and error.errno in NO_SPACE):
        return Problem("storage_full", "The disk is full", retry_after=RETRY_AFTER_S)
    if reason == "busy":
        detail = "The database is busy or does not answer"
        return Problem("unavailable", detail, retry_after=RETRY_AFTER_S)
    return Problem(
        "internal_error", "The server failed; the request id finds the reason in its log"
    )


def account(error: BaseException) -> str:
    """A traceback with its chain, oldest first, without any content of an event."""
    return "".join(_lines(error)).rstrip("\n")


def _lines(error: BaseException) -> Iterator[str]:
    chain, seen = [error], {id(error)}
    while True:
        last = chain[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or id(before) in seen:
            break
        chain.append(before)
        seen.add(id(before))
    for each in reversed(chain):
        yield from traceback.format_tb(each.__traceback__)
        yield f"{type(each).__module__}.{type(each).__qualname__}{_message(each)}\n"


def _message(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return f": SQLSTATE {state}"
    ours = type(error).__module__.partition(".")[0] == _OURS
    return f": {error}" if ours or isinstance(error, (OSError, sqlite3.Error)) else ""
