"""Which events a request means: a selection of one log's snapshot.

Rules:
- A `Selection` is fixed: the tree size of its snapshot, an index range, an expression over the
  terms index, and checks of what that finds, which are made in matching.py. Rows are never changed
  or removed, so the same selection gives the same rows in every transaction; callers read it in
  chunks and hold no transaction between them.
- A range of `received_at` is an index range, because `received_at` never goes back within a log.
- Order is by index (which is `received_at`), by `occurred_at`, or by a member (sorts.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, func, select

from ..auth import Caller
from ..problems import Problem
from ..times import TimeRange, time_range
from . import logs
from .compiler import Check, Compiler, Plan
from .known import Known
from .logs import LogRow
from .schema import events
from .search import Expression, Filters, every

Order: TypeAlias = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Events [low, high) of a log that match; `occurred` further bounds `occurred_at`, `checks`
    must all pass (matching.py). `usual` holds whatever passes them, and most events. `sort` names a
    member to sort by (sorts.SORTS)."""

    log: LogRow
    low: int
    high: int
    match: Expression | None = None
    occurred: TimeRange = field(default_factory=TimeRange)
    checks: tuple[Check, ...] = ()
    usual: Expression | None = None
    by_occurred: bool = False
    sort: str | None = None
    asked: bool = False  # a query narrowed its index range
    known: Known | None = field(default=None, compare=False, repr=False)  # see known.py

    @property
    def timed(self) -> bool:
        """Whether `occurred_at` is bounded."""
        return self.occurred != TimeRange()

    @property
    def is_range(self) -> bool:
        """Whether it holds every event of its index range."""
        return self.match is None and not (self.timed or self.checks or self.asked)

    def by_index(self) -> "Selection":
        """The same events in the order of the log."""
        return replace(self, by_occurred=False, sort=None)

    def within(self, low: int, high: int) -> "Selection":
        """The part of it in an index range."""
        low, high = max(self.low, low), min(self.high, high)
        return replace(self, low=low, high=max(low, high))

    def split(self, order: Order, length: int) -> tuple["Selection", "Selection"]:
        """The part of it that is read first, of so many events, and the rest."""
        at = max(self.low, self.high - length) if order == "desc" else self.low + length
        first, last = self.within(self.low, at), self.within(at, self.high)
        return (last, first) if order == "desc" else (first, last)

    def behind(self, index: int, order: Order) -> "Selection":
        """The part of it that follows an index, in the order of the log."""
        return self.within(0, index) if order == "desc" else self.within(index + 1, self.high)


def find_log(connection: Connection, log_id: str) -> LogRow:
    """The log as it stands now; raises `Problem("log_not_found")`."""
    log = logs.find(connection, log_id)
    if log is None:
        raise Problem("log_not_found", "There is no such log, or the key may not read it")
    return log


def may_read(connection: Connection, caller: Caller, log_id: str) -> bool:
    """Whether the caller reaches a log: a tenant-bound key only its tenant's own."""
    if caller.tenant_id is None:
        return True
    log = logs.find(connection, log_id)
    return log is not None and log.tenant_id == caller.tenant_id


def at_size(log: LogRow, size: int | None) -> LogRow:
    """The log as it stood at an earlier size; None is now."""
    return log if size is None else replace(log, size=min(size, log.size))


def select_events(
    connection: Connection,
    log: LogRow,
    filters: Filters,
    *,
    clock: int,
    extra: Sequence[Plan] = (),
    order_by: str = "received_at",
    known: Known | None = None,
) -> Selection:
    """The events of a log's snapshot that pass the filters; raises `Problem` for bad ones.
    `known`, where it is read in this same transaction."""
    plans = [*Compiler(connection, log.log_id, clock).filters(filters), *extra]
    bounds = [plan for plan in plans if plan.times or plan.within]
    others = [plan for plan in plans if plan not in bounds]  # a bound says all that its plan does
    match = every([plan.near for plan in others if plan.near is not None])
    usual = every([plan.usual for plan in others if plan.usual is not None])
    checks = tuple(
        Check(plan.meaning, plan.check, plan.sifts) for plan in others if plan.check is not None
    )
    selection = Selection(log, 0, log.size, match, checks=checks, usual=usual, known=known)
    selection = replace(selection, asked=bool(bounds))
    selection = replace(selection, **_order(order_by))
    times = time_range(filters.start, filters.end, filters.last, clock=clock)
    selection = _during(connection, selection, filters.time_field, times)
    for plan in bounds:
        if plan.times is not None:
            selection = _during(connection, selection, *plan.times)
        if plan.within is not None:
            selection = selection.within(*plan.within)
    return selection


def _order(order_by: str) -> dict[str, Any]:
    if order_by in {"received_at", "occurred_at"}:
        return {"by_occurred": order_by == "occurred_at"}
    return {"sort": order_by}


def _during(
    connection: Connection, selection: Selection, field: str, times: TimeRange
) -> Selection:
    """The part of a selection in a range of `received_at` or `occurred_at`."""
    if field == "occurred_at":
        return replace(selection, occurred=_overlap(selection.occurred, times))
    log, low, high = selection.log, selection.low, selection.high
    if times.start is not None:
        low = first_since(connection, log, times.start)
    if times.end is not None:
        high = first_since(connection, log, times.end + 1)
    return selection.within(low, high)


def _overlap(one: TimeRange, other: TimeRange) -> TimeRange:
    starts = [t for t in (one.start, other.start) if t is not None]
    ends = [t for t in (one.end, other.end) if t is not None]
    return TimeRange(max(starts, default=None), min(ends, default=None))


def first_since(connection: Connection, log: LogRow, instant: int) -> int:
    """The first index received at or after an instant (µs); the log's size if there is none."""
    mine = events.c.log_id == log.log_id
    earliest = select(func.min(events.c.received_at)).where(mine, events.c.received_at >= instant)
    first = select(func.min(events.c.idx)).where(
        mine, events.c.received_at == earliest.scalar_subquery()
    )
    found: int | None = connection.execute(first).scalar()
    return log.size if found is None else min(found, log.size)
