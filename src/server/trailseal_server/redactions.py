"""`redactEvent`: one event's fields, taken out at once."""

from collections.abc import Callable, Sequence

import orjson

from .commitments import prepare
from .exports import Exports
from .problems import FieldError, Problem
from .redaction import NEVER, Content, Reason, at_or_below, named, opened
from .removals import PREFIX, SCHEMA_AND_AMENDS, locked, remove, subjects, tell
from .store import Store, jobs, listings
from .store.records import content_of, record

POLICY = "redact"


class Redactions:
    """Redactions in one database; `removed` is told that something went."""

    def __init__(self, store: Store, exports: Exports, removed: Callable[[], object]) -> None:
        self._store = store
        self._exports = exports
        self._removed = removed

    def redact(
        self, key_id: str, log_id: str, event_id: str, pointers: Sequence[str], reason: str
    ) -> bytes:
        """Take out all at or below the pointers, and answer the `EventRecord`.

        The same again changes nothing. Raises `Problem` event_not_found, legal_hold, and
        request_invalid for a pointer that leads to nothing or to what must stay.
        """
        gone: list[str] = []
        with self._store.write() as connection:
            log, held = locked(connection, log_id)
            row = listings.find_event(connection, log_id, event_id=event_id)
            held.refuse(subjects(row))
            _check(content_of(row), pointers)
            chosen = [(row, at_or_below(pointers))]
            if remove(connection, log, chosen, Reason(POLICY, reason)):
                gone = jobs.forget_exports(connection, log_id, row.idx, row.idx)
                tell(connection, log, key_id, {
                    "action": f"{PREFIX}event.redacted",
                    "resources": [{"id": event_id, "type": "event"}],
                    "reason": {"message": reason},
                })  # fmt: skip
                row = listings.find_event(connection, log_id, event_id=event_id)
            answer = record(row, log)
        self._exports.remove_files(gone)
        self._removed()
        return answer


def _check(content: Content, pointers: Sequence[str]) -> None:
    salted, hidden = opened(content, prepare(orjson.loads(content.body)))
    paths = [orjson.loads(path) for path in (*salted, *hidden)]
    fixed = {name for path in NEVER for name in orjson.loads(path)} | SCHEMA_AND_AMENDS
    errors = []
    for at, pointer in enumerate(pointers):
        choose = at_or_below([pointer])
        if named(pointer) in fixed:
            advice = "must stay: id, action, schema and amends say what the event is"
        elif not any(choose(path, b"") for path in paths):
            advice = "leads to nothing in this event"
        else:
            continue
        errors.append(FieldError("request_invalid", f"/paths/{at}", advice))
    if errors:
        raise Problem("request_invalid", f"{errors[0].pointer} {errors[0].detail}", errors=errors)
