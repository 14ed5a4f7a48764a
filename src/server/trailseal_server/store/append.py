"""Appending to a log, under the lock of the log's row, in the caller's transaction.

Rules:
- An id that the log holds with the same content (equal JCS) is a replay and gets the first receipt;
  with other content it is a conflict. Once an event was redacted (it has no seed any more) its id
  replays without a comparison.
- Of an atomic request all events are written or none.
- Indexes are contiguous. `received_at` is one instant for a transaction: max(now, the log's last).
- Leaf hashes, complete tiles, rows, terms and the log's row are one transaction.
- A writer remembers the names that it knows to be in the database (Names), and forgets them when a
  transaction fails. Whoever deletes names begins a new epoch of the log's names (rewrite.py): then
  all of them are written again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ..commitments import Prepared, entry, leaf_hash
from ..log import extend, split
from . import append_postgresql, append_sqlite, micros, tiles, tsvector, usage
from .logs import LogRow
from .terms import MAX_NAME, Term, Terms, derive, folded, storable

MAX_NAMES = 100_000  # remembered by a writer: 11 MB, or 45 where each is of another log


class Draft(NamedTuple):
    """A checked event that waits for its place in a log; times in microseconds since 1970."""

    event_id: str
    body: bytes
    fields_hash: str
    seed: str | None
    signature: dict[str, str] | None
    occurred_at: int | None
    sent_at: int | None
    ingested_by: str
    channel_id: str | None
    imported: bool
    terms: Terms
    salts: bytes | None = None  # with redactions in place of the seed: a policy took fields out
    redactions: bytes | None = None


@dataclass(slots=True)
class Placed:
    """Where an event is in its log. `replayed`: it was there before."""

    index: int
    received_at: int
    leaf_hash: bytes
    sealed: bool
    replayed: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The id belongs to another event of the log."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not written because another event of its atomic request conflicts."""


@dataclass(frozen=True, slots=True)
class Group:
    """One request's drafts for one log."""

    drafts: Sequence[Draft]
    atomic: bool = False


Outcome = Placed | Conflict | Skipped
_Known = tuple[bytes | None, Placed]  # an id's body (None once redacted) and its place


class Names:
    """The tokens of names that are in the database, of each log's epoch of names."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], set[str]] = {}
        self._count = 0

    def unknown(self, log: LogRow, terms: Sequence[Terms]) -> list[Term]:
        """The names among these terms that may not be in the database."""
        every = {name[2]: name for each in terms for name in each.names}
        new = every.keys() - self._known.get((log.log_id, log.names_epoch), ())
        return [name for name in map(every.__getitem__, new) if len(name[1]) <= MAX_NAME]

    def learn(self, log: LogRow, names: Sequence[Term]) -> None:
        """These were written."""
        if self._count > MAX_NAMES:
            self.clear()
        self._count += len(names)
        self._known.setdefault((log.log_id, log.names_epoch), set()).update(n[2] for n in names)

    def clear(self) -> None:
        """Nothing is known."""
        self._known.clear()
        self._count = 0


def append(  # noqa: PLR0917 - all that one append needs
    connection: Connection,
    log: LogRow,
    groups: Sequence[Group],
    now: int,
    names: Names,
    redact: Callable[[Draft], Draft] | None = None,
) -> list[list[Outcome]]:
    """Append the groups, in order, to a log whose row is locked; each draft's outcome. `redact`
    takes fields out of what is stored, after they were committed to."""
    received_at = max(now, log.last_received_at)
    known = _existing(connection, log, [draft.event_id for each in groups for draft in each.drafts])
    received_text = micros.text(received_at)
    fresh: list[tuple[Draft, bytes, bytes]] = []  # draft, entry, leaf hash
    outcomes: list[list[Outcome]] = []
    for group in groups:
        conflicts = [_conflicts(draft, known) for draft in group.drafts]
        if group.atomic and any(conflicts):
            outcomes.append([Conflict() if each else Skipped() for each in conflicts])
            continue
        result: list[Outcome] = []
        for draft, conflict in zip(group.drafts, conflicts, strict=True):
            if conflict:
                result.append(Conflict())
            elif draft.event_id in known:
                result.append(replace(known[draft.event_id][1], replayed=True))
            else:
                data = _entry(log.log_id, draft, received_text)
                leaf = leaf_hash(data)
                index = log.size + len(fresh)
                fresh.append((draft, data, leaf))
                placed = Placed(index, received_at, leaf, sealed=False, replayed=False)
                result.append(placed)
                known[draft.event_id] = draft.body, placed
        outcomes.append(result)
    if fresh and redact is not None:
        fresh = [(redact(draft), data, leaf) for draft, data, leaf in fresh]
    if fresh:
        _write(connection, log, fresh, received_at, names)
    return outcomes


def _conflicts(draft: Draft, known: Mapping[str, _Known]) -> bool:
    body = known[draft.event_id][0] if draft.event_id in known else None
    return body is not None and body != draft.body


def _entry(log_id: str, draft: Draft, received_at: str) -> bytes:
    return entry(
        log_id=log_id,
        event_id=draft.event_id,
        received_at=received_at,
        ingested_by=draft.ingested_by,
        committed=draft.fields_hash,
        channel_id=draft.channel_id,
        imported=draft.imported,
        signature=draft.signature,
    )


def _existing(connection: Connection, log: LogRow, ids: Sequence[str]) -> dict[str, _Known]:
    found = _engine(connection).existing(connection, log.log_id, ids)
    return {
        event_id: (
            None if redacted else body,
            Placed(index, received_at, leaf, sealed=index < log.sealed_size, replayed=True),
        )
        for event_id, body, redacted, index, received_at, leaf in found
    }


def _write(
    connection: Connection,
    log: LogRow,
    fresh: Sequence[tuple[Draft, bytes, bytes]],
    received_at: int,
    names: Names,
) -> None:
    log_id, after = log.log_id, log.size + len(fresh)
    leaves = [leaf for _, _, leaf in fresh]
    tiles.write_complete(connection, log_id, log.size, leaves)
    rows = [
        (
            *(log_id, index, draft.event_id, received_at, draft.occurred_at, draft.sent_at),
            *(draft.body, draft.seed, draft.salts, draft.redactions, data, leaf),
            *(draft.ingested_by, draft.channel_id, draft.imported),
        )
        for index, (draft, data, leaf) in enumerate(fresh, log.size)
    ]
    terms = [draft.terms for draft, _, _ in fresh]
    new = names.unknown(log, terms)
    found = sorted((log_id, f, storable(v), folded(v), token) for f, v, token in new)
    grown = after, b"".join(extend(split(log.edge), log.size, leaves)), received_at
    counted = usage.counted(log_id, received_at, [len(draft.body) for draft, _, _ in fresh])
    _engine(connection).insert(connection, log, rows, terms, found, grown, counted)
    names.learn(log, new)


def deriver(dialect: str) -> Callable[[Prepared, str, str | None], Terms]:
    """`terms.derive`, with all that the engine's index takes if that can be worked out before a log
    is locked."""
    return tsvector.derive if dialect == "postgresql" else derive


def _engine(connection: Connection) -> Any:
    return append_postgresql if connection.dialect.name == "postgresql" else append_sqlite
