"""Exit codes, and how an error becomes one line and one of them.

`TABLE` is what help and documentation show.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from trailseal.errors import ApiError

FAILED, USAGE, BAD_INPUT, REFUSED, UNREACHABLE = 1, 2, 3, 4, 5
INTERRUPTED, PIPE_CLOSED = 130, 141  # as shells say for SIGINT and SIGPIPE

TABLE = {
    0: "done; verified",
    FAILED: "not done, or not all of it: an event failed, nothing found, verification failed",
    USAGE: "wrong usage or settings; verification could not be done",
    BAD_INPUT: "bad input: a file, an event or a query that cannot be understood",
    REFUSED: "the API key is not accepted, or may not do this",
    UNREACHABLE: "no connection, or no answer in time: try again",
    INTERRUPTED: "interrupted with Ctrl-C",
    PIPE_CLOSED: "the reader of the output went away",
}
MAX_SHOWN = 5  # faults of one event in a line

# Where an error's own advice is about Python.
ADVICE = {
    "ConfigurationError": "",  # the message says it
    "RequestError": "",
    "AcceptedRequestError": "Try again in a while.",
    "CheckpointNotFoundError": "A log has its first checkpoint soon after its first event.",
    "BatchTooLargeError": "Send fewer or smaller events.",
    "DownloadError": "",
    "EventConflictError": "An event never changes: log a new one, with another --id.",
    "OperationTimeoutError": "It goes on at the server: raise --timeout, or come back later.",
    "PartialFailureError": "",
    "QuotaExceededError": "Ask for a larger quota: trailseal usage shows it.",
    "RateLimitError": "Wait, or call less often.",
    "SpoolFullError": "Try again when there is room.",
    "UnavailableError": "Try again later.",
    "PermissionDeniedError": "trailseal whoami shows what this key may do.",
    "TimeoutError": "Raise --timeout, or try again: an event with its id is never logged twice.",
    "ConnectError": "Check the address, and that the server runs: trailseal doctor says more.",
    "AuthenticationError": "Check TRAILSEAL_API_KEY: trailseal doctor says more.",
}


class Mistake(Exception):  # noqa: N818  # it is the user's
    """Ends the command with a line and an exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def printable(text: str) -> str:
    """One line without control characters: names in files and answers may be hostile."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text.replace("\n", " "))


def say(message: str, *, colour: str | None = None) -> None:
    """Write a line to standard error."""
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    typer.secho(printable(message), err=True, fg=None if plain else colour)


def stop(message: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    say(f"trailseal: {message}", colour="red")
    raise typer.Exit(code)


def describe(error: Exception) -> tuple[str, int]:
    """The line and the exit code of one of our errors, a file's or a `Mistake`."""
    from trailseal import errors  # noqa: PLC0415  # only when something is wrong

    if isinstance(error, Mistake):
        return str(error), error.code
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}", BAD_INPUT
    if isinstance(error, errors.ApiError):
        return _line(error), _code(error)
    if isinstance(error, errors.UnverifiableError):
        return str(error), USAGE
    return str(error), BAD_INPUT if isinstance(error, errors.MalformedError) else FAILED


def _line(error: ApiError) -> str:
    parts = [str(error.args[0] if error.args else "") or type(error).__name__]
    for fault in error.errors[:MAX_SHOWN]:
        text = fault.detail or fault.code
        if text not in parts[0]:
            parts.append(f"{fault.pointer}: {text}" if fault.pointer else text)
    if len(error.errors) > MAX_SHOWN:
        parts.append(f"({len(error.errors) - MAX_SHOWN} more)")
    if error.retry_after is not None:
        parts.append(f"The server asks to wait {error.retry_after:g} s.")
    own = error.advice_for.get(error.code) or vars(error).get("advice")
    advice = (own, *(ADVICE.get(kind.__name__) for kind in type(error).__mro__))
    parts.append(next((text for text in advice if text is not None), error.advice))
    tags = ", ".join(filter(None, (error.code, error.request_id)))
    text = " ".join(p if p.endswith((".", "?", "!", " more)")) else f"{p}." for p in parts if p)
    return f"{text} [{tags}]"


def _code(error: ApiError) -> int:
    from trailseal import errors  # noqa: PLC0415  # see above

    kinds: tuple[tuple[int, tuple[type[Exception], ...]], ...] = (
        (USAGE, (errors.ConfigurationError, errors.InvalidPageError)),
        (REFUSED, (errors.AuthenticationError, errors.PermissionDeniedError)),
        (UNREACHABLE, (errors.TransportError, errors.UnavailableError)),
        (UNREACHABLE, (errors.OperationTimeoutError, errors.RateLimitError)),
        (BAD_INPUT, (errors.EventValidationError, errors.RequestError)),
    )
    return next((code for code, classes in kinds if isinstance(error, classes)), FAILED)
