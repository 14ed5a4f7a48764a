"""The sending thread never logs (rule 5 of the package): its log could become an event, or hang."""

from __future__ import annotations

import logging
import threading

from trailseal._words import counted
from trailseal.delivery.worker import is_sending

# Loggers that send callables use.
QUIET = ("trailseal", "httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "proxy")))

_log = logging.getLogger("trailseal")


def notice(text: str) -> None:
    """Log from another thread: the application may hold logging's lock, and wait for us."""
    try:
        threading.Thread(target=_log.warning, args=("%s", text), daemon=True).start()
    except RuntimeError:  # the interpreter is ending
        _log.warning("%s", text)


def notice_damage(lost: int) -> None:
    """Say that a spool was damaged."""
    notice(f"A spool was damaged and set aside; lost: {counted(lost, 'event')}.")


def hush() -> None:
    """Switch these loggers off in the sending thread."""
    for name in QUIET:
        _hush(logging.getLogger(name))


def _hush(logger: logging.Logger) -> None:
    """Switch a logger off in the sending thread.

    A filter would come too late: the question whether a logger is on may take logging's module
    lock, and `dictConfig` holds that while it closes handlers, which wait for us.
    """
    if "isEnabledFor" not in vars(logger):
        enabled = logger.isEnabledFor
        vars(logger)["isEnabledFor"] = lambda level: not is_sending() and enabled(level)
