"""What all errors share: their attributes, and how they print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trailseal.verify.errors import TrailSealError

if TYPE_CHECKING:
    from trailseal._results import BatchResult

MAX_DETAIL = 500  # characters of the server's text in a message: a line or a few, not a page
MAX_DETAILS = 1000  # one for each event of the largest batch


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One fault: a stable code, where (a JSON Pointer, RFC 6901) and what is wrong."""

    code: str
    pointer: str
    detail: str
    event_id: str | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ErrorDetail:
        """Read one entry of a problem document's `errors`; wrong types become empty text."""
        event_id = text_of(raw.get("event_id")) or None
        return cls(
            text_of(raw.get("code")),
            text_of(raw.get("pointer")),
            text_of(raw.get("detail")),
            event_id,
        )


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    """What an error keeps of an answer: never its body."""

    status: int
    headers: Mapping[str, str]


BY_CODE: dict[str, type[ApiError]] = {}
BY_STATUS: dict[int, type[ApiError]] = {}


class ApiError(TrailSealError):
    """The base of all errors that are no `IntegrityError`; it is never raised itself.

    Attributes: `status` (HTTP, or None), `code`, `request_id`, `errors`, `retryable`,
    `retry_after` (seconds, or None), `response` (status and headers), `continuation_token`
    (set by pagers: where to go on), `result` (set by log_bulk: what was logged so far), `attempts`
    (tries that were made; 0 where nothing was sent). `__cause__` is what it came from.
    """

    advice: str = ""  # what to do next, in a sentence
    advice_for: ClassVar[Mapping[str, str]] = {}  # where a code needs other advice

    errors: tuple[ErrorDetail, ...] = ()  # pyright: ignore  # narrower than for verify, which has none
    response: ResponseInfo | None = None  # pyright: ignore  # as above
    retry_after: float | None = None
    attempts: int = 0
    continuation_token: str | None = None
    result: BatchResult | None = None

    def __init_subclass__(cls, codes: tuple[str, ...] = (), statuses: tuple[int, ...] = ()) -> None:
        """The first code is the default; statuses are for answers without a code that we know."""
        cls.code = codes[0] if codes else cls.code
        BY_CODE.update(dict.fromkeys(codes, cls))
        BY_STATUS.update(dict.fromkeys(statuses, cls))

    def __init__(self, message: str = "", **known: Any) -> None:
        super().__init__(message)
        for name, value in known.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    @property
    def next_step(self) -> str:
        """The advice that `str` ends with."""
        own = vars(self).get("advice")
        return self.advice_for.get(self.code, self.advice) if own is None else own

    def __str__(self) -> str:
        parts = [super().__str__() or type(self).__name__]
        more = ""
        if self.errors:
            first, others = self.errors[0], len(self.errors) - 1
            fault = first.detail or first.code
            if fault not in parts[0]:  # a server's message often repeats the only fault
                place = first.pointer[:MAX_DETAIL]
                parts.append(f"{place}: {fault}" if place else fault)
            more = f"({others} more in .errors)" if others else ""
        parts = [*map(_sentence, parts), more]
        if self.retry_after is not None:
            parts.append(f"The server asks to wait {self.retry_after:g} s.")
        if self.attempts > 1:
            parts.append(f"It was tried {self.attempts} times.")
        parts.append(self.next_step)
        tags = [self.code, f"HTTP {self.status}" if self.status else "", self.request_id or ""]
        return " ".join(filter(None, parts)) + f" [{', '.join(tag for tag in tags if tag)}]"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def text_of(value: object) -> str:
    return value[:MAX_DETAIL] if isinstance(value, str) else ""
