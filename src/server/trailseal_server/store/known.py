"""What was found in a log before and still holds: matches of an index range, counts, orders.

Rules:
- Content of a log changes only where `logs.names_epoch` grows with it (rewrite.py): all that is
  known of a log is of one epoch, and forgotten with the next one. Events that are appended change
  nothing below them, so what is known of a range holds in every larger log.
- Only what was found in the same transaction as the log's row may be learned or used: a selection
  carries a `Known` where its reader has seen to that (pages.py, searches.py).
- A run is extended by whoever looks beyond it; what it holds is not looked for again.
- Only memory: bounded, one for each process, empty after a start. It holds no content, but hashes
  and words of queries.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, TypeAlias

from .logs import LogRow

MAX_RUN = 1000  # indexes of one run: 8 kB
MAX_FACTS = 1000  # of all logs: usually below 1 MB, with the longest runs 8, with orders 40


# Finds matches in an index range [low, high), in order: all, or at least so many, or as far as it
# looked; then the last index that it looked at comes with them. It is told how many indexes the
# known run held before the range: who looks at a bounded number counts them too, so that the same
# request again costs nothing.
Find: TypeAlias = Callable[[int, int, int, int], tuple[Sequence[int], int | None]]


@dataclass(frozen=True, slots=True)
class Run:
    """All matches in an index range [low, high), ascending."""

    low: int
    high: int
    indexes: Sequence[int]

    def within(self, low: int, high: int) -> Sequence[int]:
        """Those in an index range."""
        return self.indexes[bisect_left(self.indexes, low) : bisect_left(self.indexes, high)]

    def joined(self, other: "Run") -> "Run":
        """The run of both ranges; `other` where they do not touch, or are too long together."""
        if other.low > self.high or other.high < self.low:
            return other
        below = self.within(self.low, other.low)
        above = self.within(other.high, self.high)
        if len(below) + len(other.indexes) + len(above) > MAX_RUN:
            return other
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Run(low, high, array("q", [*below, *other.indexes, *above]))


class Known:
    """Facts about logs by key; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._facts = OrderedDict[tuple[str, Hashable], tuple[int, Any]]()

    def get(self, log: LogRow, key: Hashable) -> Any:
        """What is known under a key for the log as it stands; None if nothing is."""
        with self._lock:
            epoch, fact = self._facts.get((log.log_id, key), (log.names_epoch, None))
            if epoch != log.names_epoch:
                self._forget(log)
                return None
            if fact is not None:
                self._facts.move_to_end((log.log_id, key))
            return fact

    def learn(self, log: LogRow, key: Hashable, fact: object) -> None:
        """Remember a fact, found in the same transaction as `log`."""
        with self._lock:
            self._facts[log.log_id, key] = (log.names_epoch, fact)
            self._facts.move_to_end((log.log_id, key))
            if len(self._facts) > MAX_FACTS:
                self._facts.popitem(last=False)

    def _forget(self, log: LogRow) -> None:
        for key in [key for key in self._facts if key[0] == log.log_id]:
            if self._facts[key][0] < log.names_epoch:
                del self._facts[key]


def through_run(  # noqa: PLR0917 - what is known, which range of it, and how to find more
    known: Known | None,
    log: LogRow,
    key: Hashable,
    low: int,
    high: int,
    order: Literal["asc", "desc"],
    limit: int,
    find: Find,
) -> tuple[list[int], int | None]:
    """As `find` for [low, high), of at most `limit`: out of the known run where that is, and what
    was found is known from then on."""
    if known is None or low >= high or limit > MAX_RUN:
        some, stop = find(low, high, limit, 0)
        return list(some[:limit]), stop
    run: Run | None = known.get(log, key)
    if run is None or run.high < low or run.low > high:
        run = Run(high, high, ()) if order == "desc" else Run(low, low, ())
    parts = [(low, run.low), (max(low, run.low), min(high, run.high)), (run.high, high)]
    found, stop, passed = list[int](), None, 0
    for start, end in parts if order == "asc" else parts[::-1]:
        if len(found) >= limit or stop is not None or start >= end:
            continue
        if run.low <= start and end <= run.high:
            inside = run.within(start, end)
            found += inside if order == "asc" else reversed(inside)
            passed = end - start
        else:
            more, stop = find(start, end, limit - len(found), passed)
            found += more
    found = found[:MAX_RUN]
    if len(found) >= limit:  # so far, and no further
        stop = found[-1]
    if stop is not None:
        low, high = (low, stop + 1) if order == "asc" else (stop, high)
    known.learn(log, key, run.joined(Run(low, high, array("q", sorted(found)))))
    return found[:limit], stop
