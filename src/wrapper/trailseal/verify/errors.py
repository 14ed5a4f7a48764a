"""What verification raises, and the root of every error of TrailSeal.

1. `TrailSealError` lives here because `trailseal.verify` imports nothing else of the package;
   `trailseal.errors` re-exports it and adds the rest of the tree.
2. A message says what is wrong and where (an index, a member, a path), never what an event holds.
3. Whatever could not be verified is an `IntegrityError`, so that one `except` fails closed.
4. Every error can be pickled: its arguments are its message, the rest is in its attributes.

    TrailSealError
    └── IntegrityError
        ├── MalformedError          it cannot even be read as what it should be
        ├── UnverifiableError       something needed is missing: a key, a proof, a file
        ├── EventCorruptionError    an event is not what its log entry commits to
        ├── ProofError              a signature, a proof or a digest does not hold
        └── CheckpointForkError     two signed checkpoints contradict each other
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CheckpointForkError",
    "EventCorruptionError",
    "IntegrityError",
    "MalformedError",
    "ProofError",
    "TrailSealError",
    "UnverifiableError",
]

MAX_MESSAGE_CHARS = 500  # a path or an origin chosen by somebody hostile must not fill a report


class TrailSealError(Exception):
    """The root of every error of the package; `str(error)` says what to do about it."""

    status: int | None = None  # the HTTP status, where there was an answer
    code: str = ""  # stable snake_case
    request_id: str | None = None
    errors: tuple[object, ...] = ()  # the single faults, where there are several
    retryable: bool = False
    response: object | None = None


class IntegrityError(TrailSealError):
    """Something is not proved.

    `kind` is one stable word for machines, the same as in `Finding.kind`; `index` is the
    event's index in its log, where one event is meant; `subject` what was checked, where a
    client has it: the receipt of an event that is logged, though it is not proved.
    """

    code = "integrity"
    default_kind: ClassVar[str] = "integrity"
    advice: ClassVar[str] = ""  # what to do next, in a sentence

    def __init__(self, message: str, *, index: int | None = None, kind: str | None = None) -> None:
        super().__init__(message[:MAX_MESSAGE_CHARS])
        self.index = index
        self.subject: object | None = None
        self.kind = kind or self.default_kind

    def __str__(self) -> str:
        message = super().__str__()
        if self.index is not None:
            message = f"event at index {self.index}: {message}"
        return f"{message.rstrip('.')}. {self.advice}" if self.advice else message


class MalformedError(IntegrityError):
    """The input is not what its format says: not strict JSON, no signed note, a wrong type."""

    code = "malformed"
    default_kind = "malformed"
    advice = "Give it whole and unchanged."


class UnverifiableError(IntegrityError):
    """Nothing is known to be wrong, but something that the check needs is missing."""

    code = "unverifiable"
    default_kind = "unverifiable"
    advice = "Give what is missing, and verify again."


class EventCorruptionError(IntegrityError):
    """An event, or the record around it, is not what its log entry commits to."""

    code = "event_corrupt"
    default_kind = "event"
    advice = "Keep the evidence, and ask the log's operator."


class ProofError(IntegrityError):
    """A signature, an inclusion or consistency proof, or a digest does not hold."""

    code = "proof_invalid"
    default_kind = "proof"
    advice = "Rely on nothing that it covers: fetch it again, then ask the log's operator."


class CheckpointForkError(IntegrityError):
    """Two checkpoints of one log, both signed, where the newer does not continue the older."""

    code = "log_forked"
    default_kind = "fork"
    advice = "Keep both checkpoints, and ask the log's operator."


class Faults(list[IntegrityError]):
    """What is wrong, one after the other.

    `with faults:` keeps an `IntegrityError` of its block, and the code behind the block runs.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: object, _traceback: object) -> bool:
        if not isinstance(error, IntegrityError):
            return False
        self.append(error)
        return True
