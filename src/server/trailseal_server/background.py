"""A thread that does one round after the other until it is asked to end.

Rules:
- A round that fails is logged, without any content of an event, and the next one comes: a database
  that is away comes back. What fails in the same way again is not said again.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from .failures import account, problem_of

STOP_DEADLINE_S = 10.0
_PASSING = frozenset({"unavailable", "storage_full"})
_log = logging.getLogger("trailseal.server")


class Background(ABC):
    """Rounds every `pause` seconds, at once after `wake`; `start` and `stop` them."""

    def __init__(self, name: str, pause: float) -> None:
        self._thread_name = name
        self._pause = pause
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: dict[str, str] = {}  # steps that failed when they were last tried, and how

    def start(self) -> None:
        """Start the thread."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            self._thread.start()

    def put_down(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()
        self._wake.set()

    def stop(self, timeout: float = STOP_DEADLINE_S) -> None:
        """End the thread, at most `timeout` seconds from now."""
        self.put_down()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def wake(self) -> None:
        """There is something to do: look at once."""
        self._wake.set()

    @abstractmethod
    def _round(self) -> bool:
        """Do what is to be done; whether there may be more at once."""

    def _attempt(self, step: Callable[[], object], name: str) -> bool:
        """What `step` answers, as a truth; a failure is logged, and False."""
        try:
            answer = bool(step())
        except Exception as error:  # noqa: BLE001  # the thread outlives every failure
            passing = problem_of(error).code in _PASSING
            said = account(error).rpartition("\n")[2] if passing else account(error)
            if self._failed.get(name) != said:
                _log.error("%s: %s failed\n%s", self._thread_name, name, said)
            self._failed[name] = said
            return False
        self._failed.pop(name, None)
        return answer

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._attempt(self._round, "a round"):
                self._wake.wait(self._pause)
                self._wake.clear()
