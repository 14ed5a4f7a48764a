"""From a request's events to acknowledged ones: check, commit to fields, append, answer.

Rules:
- Preparing is pure and happens in the caller's thread; appending happens in one writer thread. One
  transaction takes all requests that wait once it has begun (group commit); if the database refuses
  it, each request gets a transaction of its own, so that one cannot spoil another's. Where many
  write at once, it begins when no more come: it costs as much as ten small requests.
- An answer is given only after the commit: acknowledged means on disk.
- Results stay in input order. One bad event is one failed item, unless the request is atomic.
- What is no object is a failed item like any other bad event.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

from . import prepare
from .auth import Caller
from .handoff import Reply
from .prepare import Event, Validate
from .problems import Problem
from .quota import Quotas
from .results import ItemResult, answer_of, failure_of, is_new, item_of, nothing_written
from .store import Connection, Store, logs, micros
from .store.append import Draft, Group, Names, append, deriver
from .store.logs import LogRow
from .store.upkeep import Upkeep
from .targets import Target, open_log, target_of

MAX_QUEUED = 1024  # requests that wait for the writer; more are refused with `unavailable`
MAX_TRANSACTION_EVENTS = 10_000
MAX_OPENED = 100_000  # logs remembered, some 30 MB
COMPANY = 5  # requests in the last transaction, as PostgreSQL's commit_siblings: many write at once
STEP_S = 0.0005  # in which another comes, or none does
STEPS = 8  # at most: 4 ms, and what it waits for the interpreter while others come
RETRY_AFTER_S = 1.0
UPKEEP_S = 0.5  # that the end waits for upkeep: it has nothing to lose

Answer = Future[list[ItemResult]] | Reply  # what waits for a request's results
Count = Callable[[Mapping[str, int]], object]  # of outcomes
Admit = Callable[[Caller, Target, Event, Draft, str], None]  # see admission.py
Redact = Callable[[Connection, LogRow, Draft], Draft]  # see policies.py


@dataclass(slots=True)
class _Request:
    caller: Caller
    atomic: bool
    answer: Answer
    results: dict[int, ItemResult] = field(default_factory=dict)
    drafts: dict[Target, list[tuple[int, Draft]]] = field(default_factory=dict)
    size: int = 0  # drafts

    def fail(self, position: int, event_id: str | None, error: Problem) -> None:
        self.results[position] = ItemResult(position, event_id, "failed", error=error)

    def add(self, target: Target, position: int, draft: Draft) -> None:
        self.drafts.setdefault(target, []).append((position, draft))
        self.size += 1


class Ingest:
    """The write side; `start` and `stop` it.

    `validate` checks one event against the contract, `admit` against schemas and keys; `redact`
    takes out what the log's policy does not allow; `count` is told the outcomes.
    """

    def __init__(
        self,
        store: Store,
        validate: Validate,
        admit: Admit = lambda *_: None,
        redact: Redact = lambda _connection, _log, draft: draft,
        *,
        count: Count = lambda _: None,
        clock: Callable[[], int] = micros.now,
    ) -> None:
        self._store = store
        self._validate = validate
        self._admit = admit
        self._redact = redact
        self._count = count
        self._clock = clock
        self._derive = deriver(store.engine.dialect.name)
        self.quotas = Quotas()
        self._names = Names()
        self._opened: dict[tuple[str | None, str | None, Target], str] = {}
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._upkeep = Upkeep(store)
        self._thread: threading.Thread | None = None
        self._ended = False
        self._company = 0  # requests that the last transaction took

    def start(self) -> None:
        """Begin to take requests."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="trailseal-writer", daemon=True)
        self._thread.start()
        self._upkeep.start()

    def stop(self, timeout: float) -> bool:
        """Refuse new requests and write what was accepted; whether that was done in `timeout` s."""
        with self._closing:
            thread, self._thread = self._thread, None
        if thread is None:
            return True
        end = time.monotonic() + timeout
        self._queue.put(None)
        self._upkeep.put_down()
        thread.join(timeout)
        self._upkeep.stop(min(UPKEEP_S, max(0.0, end - time.monotonic())))
        return not thread.is_alive()

    def submit(
        self, caller: Caller, events: Sequence[Event | Problem], **options: Any
    ) -> "Future[list[ItemResult]]":
        """`send` with a future of its own, that nobody can cancel."""
        future: Future[list[ItemResult]] = Future()
        future.set_running_or_notify_cancel()
        self.send(future, caller, events, **options)
        return future

    def send(
        self,
        answer: Answer,
        caller: Caller,
        events: Sequence[Event | Problem],
        *,
        log_id: str | None = None,
        atomic: bool = False,
        channel_id: str | None = None,
        sent_at: int | None = None,
        imported: bool = False,
        pointer: str | None = "/events",
    ) -> None:
        """Check the events and queue them; `answer` gets results after the commit, in input order.

        A problem in an event's place says why there is none: it becomes that item's error.
        Field errors point to `{pointer}/{position}/…`, or to `/…` of a single event if it is None.
        Raises Problem: an atomic request with a bad event, no log, another tenant's log, a full
        queue. The answer may be a Problem too, for an atomic request that conflicts, and whatever
        the database raised.
        """
        request = _Request(caller, atomic, answer)
        origin = prepare.Origin(caller.key_id, channel_id, sent_at, imported)
        seen: set[tuple[Target, str]] = set()
        targets: dict[str | None, Target] = {}
        for position, event in enumerate(events):
            at = "" if pointer is None else f"{pointer}/{position}"
            if isinstance(event, Problem):
                request.fail(position, None, event)
                continue
            try:
                tenant_id = event.get("tenant_id") if isinstance(event, dict) else None
                tenant_id = tenant_id if isinstance(tenant_id, str) else None
                target = targets.get(tenant_id)
                if target is None:
                    target = targets[tenant_id] = target_of(caller, log_id, tenant_id)
                draft = prepare.draft(event, self._validate, origin, at, self._derive)
                self._admit(caller, target, event, draft, at)
                if (target, draft.event_id) in seen:
                    raise prepare.problem("duplicate_event_id", f"{at}/id", "occurs twice", event)
            except Problem as error:
                request.fail(position, _id_of(event), error)
            else:
                seen.add((target, draft.event_id))
                request.add(target, position, draft)
        if atomic:
            _all_or_nothing(request)
        self._enqueue(request)

    def _enqueue(self, request: _Request) -> None:
        with self._closing:
            if self._thread is None:
                raise Problem("unavailable", "The server is stopping", retry_after=RETRY_AFTER_S)
            if self._queue.qsize() >= MAX_QUEUED:
                advice = "Too many requests wait to be written"
                raise Problem("unavailable", advice, retry_after=RETRY_AFTER_S)
            self._queue.put(request)

    def _run(self) -> None:
        while not self._ended and (first := self._queue.get()) is not None:
            self._await_company()
            self._write([first])

    def _await_company(self) -> None:
        """Where many write at once, wait until none came within a step."""
        if self._company < COMPANY:
            return
        before = -1
        for _ in range(STEPS):
            waiting = self._queue.qsize()
            if waiting == before:
                return
            before = waiting
            time.sleep(STEP_S)

    def _gather(self, requests: list[_Request]) -> None:
        """Add what waits: the longer the database's lock took, the more."""
        events = requests[0].size
        while events < MAX_TRANSACTION_EVENTS:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return
            if found is None:
                self._ended = True
                return
            requests.append(found)
            events += found.size

    def _write(self, requests: list[_Request], *, again: bool = False) -> None:
        try:
            with self._store.write() as connection:
                if not again:
                    self._gather(requests)
                    self._company = len(requests)
                answers = self._append(connection, requests)
        except Exception as error:  # noqa: BLE001  # the writer outlives every failure
            self._names.clear()
            self._opened.clear()
            self.quotas.undo()
            if len(requests) > 1:
                for request in requests:
                    self._write([request], again=True)
            else:
                requests[0].answer.set_exception(error)
            return
        outcomes: Counter[str] = Counter()
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Problem):
                request.answer.set_exception(answer)
            else:
                outcomes.update(item.status for item in answer)
                request.answer.set_result(answer)
        self._count(outcomes)
        self.quotas.settle(self._store)
        self._upkeep.after(sum(request.size for request in requests))

    def _append(
        self, connection: Connection, requests: Sequence[_Request]
    ) -> list[list[ItemResult] | Problem]:
        results = [dict(request.results) for request in requests]
        by_log: dict[str, list[tuple[int, list[tuple[int, Draft]]]]] = {}
        parts = [(n, *part) for n, each in enumerate(requests) for part in each.drafts.items()]
        for number, target, drafts in sorted(parts, key=lambda part: part[1].name):
            try:
                log_id = self._open(connection, requests[number].caller, target)
            except Problem as error:
                for position, draft in drafts:
                    results[number][position] = failure_of(position, draft, error)
            else:
                by_log.setdefault(log_id, []).append((number, drafts))
        locked = [logs.find(connection, log_id, lock=True) for log_id in sorted(by_log)]
        now = self._clock()
        for log in filter(None, locked):
            mine = sorted(by_log[log.log_id], key=itemgetter(0))
            try:
                self.quotas.check(connection, log, now)
            except Problem as error:
                for n, part in mine:
                    results[n] |= {at: failure_of(at, draft, error) for at, draft in part}
                continue
            groups = [Group([d for _, d in part], requests[n].atomic) for n, part in mine]
            redact = None if log.policy_at is None else partial(self._redact, connection, log)
            appended = append(connection, log, groups, now, self._names, redact)
            for (n, part), outcomes in zip(mine, appended, strict=True):
                for (position, draft), outcome in zip(part, outcomes, strict=True):
                    results[n][position] = item_of(log.log_id, position, draft, outcome)
            self.quotas.add(log, sum(map(is_new, chain.from_iterable(appended))))
        return [
            answer_of(result, atomic=request.atomic)
            for request, result in zip(requests, results, strict=True)
        ]

    def _open(self, connection: Connection, caller: Caller, target: Target) -> str:
        """The log that is meant. It is looked for once: no log goes away or changes hands."""
        meant = caller.tenant_id, caller.default_log, target
        log_id = self._opened.get(meant)
        if log_id is None:
            log_id = open_log(connection, caller, target)
            if len(self._opened) >= MAX_OPENED:
                self._opened.clear()
            self._opened[meant] = log_id
        return log_id


def _all_or_nothing(request: _Request) -> None:
    if request.results:
        raise nothing_written(list(request.results.values()))
    if len(request.drafts) > 1:
        raise Problem("request_invalid", "An atomic batch must lie in a single log")


def _id_of(event: Event) -> str | None:
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else None
