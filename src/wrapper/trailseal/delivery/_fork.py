"""Forks and SQLite: the one lock of all spools of a process."""

from __future__ import annotations

import os
import threading

FORK_WAIT_S = 10.0  # longer than any commit; a fork in a signal handler must not wait for ever


class Sqlite:
    """The lock under which spools call SQLite. A fork waits for it: a child that inherits a mutex
    of SQLite's own, held by a thread that it does not have, would hang at its first event."""

    lock = threading.Lock()
    _held = False

    @classmethod
    def before_fork(cls) -> None:
        """Wait until no thread is inside SQLite."""
        cls._held = cls.lock.acquire(timeout=FORK_WAIT_S)

    @classmethod
    def after_fork(cls) -> None:
        """In the parent: go on."""
        if cls._held:
            cls.lock.release()

    @classmethod
    def in_child(cls) -> None:
        """Begin with a free lock."""
        cls.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=Sqlite.before_fork,
        after_in_parent=Sqlite.after_fork,
        after_in_child=Sqlite.in_child,
    )
