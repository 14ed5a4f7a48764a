"""What became of a request's events, in the words of the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .problems import FieldError, Problem
from .store import micros
from .store.append import Conflict, Draft, Outcome, Placed


@dataclass(slots=True)
class Receipt:
    """The contract's `Receipt`, without a proof."""

    event_id: str
    log_id: str
    index: int
    received_at: str
    leaf_hash: str
    state: Literal["pending", "sealed"]
    replayed: bool


class ItemResult(NamedTuple):
    """What became of one event: a receipt (created, duplicate) or an error (failed)."""

    position: int
    event_id: str | None
    status: Literal["created", "duplicate", "failed"]
    receipt: Receipt | None = None
    error: Problem | None = None


def is_new(outcome: Outcome) -> bool:
    """Whether an event was written now."""
    return isinstance(outcome, Placed) and not outcome.replayed


def item_of(log_id: str, position: int, draft: Draft, outcome: Outcome) -> ItemResult:
    """What became of a draft."""
    if not isinstance(outcome, Placed):
        conflict = isinstance(outcome, Conflict)
        code = "event_id_conflict" if conflict else "partial_failure"
        why = "The log holds another event with this id" if conflict else "Another event failed"
        return failure_of(position, draft, Problem(code, why))
    receipt = Receipt(
        event_id=draft.event_id,
        log_id=log_id,
        index=outcome.index,
        received_at=micros.text(outcome.received_at),
        leaf_hash=outcome.leaf_hash.hex(),
        state="sealed" if outcome.sealed else "pending",
        replayed=outcome.replayed,
    )
    status: Literal["created", "duplicate"] = "duplicate" if outcome.replayed else "created"
    return ItemResult(position, draft.event_id, status, receipt)


def failure_of(position: int, draft: Draft, error: Problem) -> ItemResult:
    """A draft that was not written."""
    return ItemResult(position, draft.event_id, "failed", error=error)


def answer_of(results: Mapping[int, ItemResult], *, atomic: bool) -> list[ItemResult] | Problem:
    """A request's results in the order of its events, or why it is refused as a whole."""
    ordered = [results[position] for position in sorted(results)]
    failed = [item for item in ordered if item.error is not None]
    return nothing_written(failed) if atomic and failed else ordered


def nothing_written(failed: Sequence[ItemResult]) -> Problem:
    """An atomic request's refusal: the one code of its failures, or `partial_failure`."""
    problems = [(item, item.error) for item in failed if item.error is not None]
    own = [each for each in problems if each[1].code != "partial_failure"] or problems
    codes = {error.code for _, error in own}
    errors = [
        each
        for item, error in own
        for each in error.errors
        or [FieldError(error.code, f"/events/{item.position}", error.detail, item.event_id)]
    ]
    code = codes.pop() if len(codes) == 1 else "partial_failure"
    return Problem(code, "Nothing was written: the batch is atomic", errors=errors)
