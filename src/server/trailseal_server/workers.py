"""Several server processes behind one address, so that a server has more than one core.

Rules:
- Each is a whole server (app.py) on the same database and the same listening socket, whose
  connections they take in turn (turns.py). Where there is one core for each, each keeps to its own.
  To Linux they are batch work.
- One that dies is replaced: at once, or a second after its start if it never served. Only where
  the first ones do not start, the next would fail too: that ends them all.
- SIGINT and SIGTERM end all of them, each as it would end alone. If the supervisor is killed, they
  end by themselves.
- Metrics are of all processes together: they count in files of one folder (prometheus_client's
  multiprocess mode), which goes when they do.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from tempfile import TemporaryDirectory

from .limits import SHUTDOWN_DEADLINE
from .memory import bound_arenas
from .settings import METRICS_DIR, Settings
from .turns import Turn, Turns

START_DEADLINE = 60.0  # seconds for all to serve: one of them may have to migrate the database
AGAIN_S = 1.0  # between two starts of a process that dies before it serves
TICK_S = 0.5  # between looks at signals
END_DEADLINE = SHUTDOWN_DEADLINE + 2.0  # a process that takes longer is killed

Configure = Callable[[], object]  # logging of a new process; must be picklable
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_spawn = multiprocessing.get_context("spawn")  # threads run already: nothing may be forked
_log = logging.getLogger("trailseal.server")


def run_workers(
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], object],
    configure: Configure,
) -> None:
    """Run `settings.workers` processes until SIGINT or SIGTERM; `announce` when all serve.

    Raises RuntimeError if one of the first ones does not start.
    """
    ending = threading.Event()
    handlers = {each: signal.signal(each, lambda *_: ending.set()) for each in _SIGNALS}
    with TemporaryDirectory(prefix="trailseal-metrics-") as folder:
        os.environ[METRICS_DIR] = folder
        turns = Turns(settings.workers)
        workers = [
            _Worker(settings, listener, configure, turns, n) for n in range(settings.workers)
        ]
        try:
            _await_start(workers, ending)
            if not ending.is_set():
                announce()
            while not ending.is_set():
                wait([each.process.sentinel for each in workers], TICK_S)
                for each in workers:
                    if not each.process.is_alive() and not ending.is_set():
                        each.replace()
        finally:
            _end(workers)
            del os.environ[METRICS_DIR]
            for number, handler in handlers.items():
                signal.signal(number, handler)


class _Worker:
    """A process, and the next one when it has died."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        configure: Configure,
        turns: Turns,
        number: int,
    ) -> None:
        self._given = settings, listener, configure, turns, number
        self._turns, self._number = turns, number
        self.process, self.serves = self._start()

    def replace(self) -> None:
        self._turns.withdraw(self._number)
        if not self.serves.is_set():
            time.sleep(max(0.0, self._began + AGAIN_S - time.monotonic()))
        _log.error("process %s ended with %s", self.process.pid, self.process.exitcode)
        self.process, self.serves = self._start()

    def _start(self) -> tuple[SpawnProcess, Event]:
        self._began = time.monotonic()
        serves = _spawn.Event()
        process = _spawn.Process(target=_work, args=(*self._given, serves), name="trailseal")
        process.start()
        return process, serves


def _await_start(workers: list[_Worker], ending: threading.Event) -> None:
    end = time.monotonic() + START_DEADLINE
    while not ending.is_set() and not all(each.serves.is_set() for each in workers):
        wait([each.process.sentinel for each in workers], 0.05)
        ended = [each.process.exitcode for each in workers if not each.process.is_alive()]
        if ended and not ending.is_set():
            detail = f"a server process ended with {ended[0]} before it served; its log says why"
            raise RuntimeError(detail)
        if time.monotonic() > end:
            raise RuntimeError(f"a server process did not start in {START_DEADLINE:.0f} seconds")


def _end(workers: list[_Worker]) -> None:
    end = time.monotonic() + END_DEADLINE
    for each in workers:
        each.process.terminate()
    for each in workers:
        each.process.join(max(0.0, end - time.monotonic()))
        each.process.kill()


def _work(  # noqa: PLR0917 - as _Worker gives it
    settings: Settings,
    listener: socket.socket,
    configure: Configure,
    turns: Turns,
    number: int,
    serves: Event,
) -> None:
    """One process: a server that announces itself, and that ends with its supervisor."""
    from .app import work  # noqa: PLC0415 - in the new process, with METRICS_DIR in place

    keep_to_core(number, settings.workers)  # before there are threads, which follow in both
    schedule_as_batch()
    bound_arenas()
    configure()
    threading.Thread(target=_end_with_parent, name="trailseal-parent", daemon=True).start()
    turn = Turn(turns, number) if sys.platform != "win32" else None  # its loop has no add_reader
    work(settings, listener, serves.set, turn)


def keep_to_core(number: int, of: int) -> None:
    """Where there are as many cores as processes (Linux), this one's threads use its own only: most
    of them pass the interpreter's lock on to each other, and find its caches (ADR 10)."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may refuse it
            cores = sorted(os.sched_getaffinity(0))
            if len(cores) == of:
                os.sched_setaffinity(0, {cores[number]})


def schedule_as_batch() -> None:
    """No thread that wakes pushes aside one that runs (Linux: SCHED_BATCH, sched(7)): that one
    mostly holds the interpreter's lock, and both would wait for it (ADR 10). An operator's own
    choice stays."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox or a C library may refuse it
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this runs in a child only
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
