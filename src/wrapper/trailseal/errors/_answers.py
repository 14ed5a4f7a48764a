"""How an answer, or the lack of one, becomes an error. Takes any bytes, and never fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from trailseal.errors._base import (
    BY_CODE,
    BY_STATUS,
    MAX_DETAILS,
    ApiError,
    ErrorDetail,
    ResponseInfo,
    text_of,
)
from trailseal.errors._tree import (
    ConnectError,
    ReadError,
    RequestError,
    ServerError,
    TimeoutError,  # noqa: A004  # the library's own
    TransportError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from trailseal._flow import Response

KEPT_HEADERS = ("content-type", "date", "request-id", "retry-after", "server", "via")

Phase = Literal["connect", "read", "timeout", "deadline"]

_SIGNS = {  # in the words of OpenSSL and the system
    "not valid for": "Use a host name that the certificate names.",
    "has expired": "The server's certificate must be renewed.",
    "CERTIFICATE_VERIFY_FAILED": "Trust its authority: name its file in SSL_CERT_FILE, or as tls.",
    "SSL: ": "The server may not speak TLS there: check http:// against https://.",
    "not known": "Check the spelling of the host.",
}
_STRANGER = "Check the base URL, and what proxies stand before the server."
_ADVICE = {  # for answers that no TrailSeal server has written
    401: _STRANGER,
    403: _STRANGER,
    404: _STRANGER,
    405: _STRANGER,
    407: "Give the proxy's user and password: http://USER:PASSWORD@HOST:PORT.",
    413: "Let the proxy take requests of 10 MiB, or send fewer events at once.",
}


def from_transport(phase: Phase, reason: str, request_id: str | None = None) -> TransportError:
    """Say what went wrong below HTTP; `reason` is a short text without payload or secret."""
    if phase == "connect":
        known = {"advice": advice} if (advice := _mending(reason)) else {}
        text = f"No connection to the server ({reason})."
        return ConnectError(text, request_id=request_id, **known)
    if phase == "read":
        return ReadError(f"The connection broke ({reason}).", request_id=request_id)
    return TimeoutError(
        f"No answer in time ({reason}).", request_id=request_id, expired=phase == "deadline"
    )


def from_response(response: Response, *, now: datetime | None = None) -> ApiError:
    """Turn any answer that is no success into the one exception for it.

    A problem document (RFC 9457) decides by its `code`, anything else by its status. `now` is
    what an HTTP date in Retry-After is counted from.
    """
    problem = _problem(response)
    error = from_problem(problem, status=response.status) if problem else _bare(response)
    error.request_id = error.request_id or response.headers.get("request-id") or None
    wait = parse_retry_after(response.headers.get("retry-after"), now or _now())
    error.retry_after = wait if wait is not None else error.retry_after
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    error.response = ResponseInfo(response.status, kept)
    return error


def from_problem(problem: Mapping[str, Any], *, status: int | None = None) -> ApiError:
    """Read a problem document: a whole answer's, a batch item's or an operation's."""
    code = text_of(problem.get("code"))
    kind = BY_CODE.get(code) or _for_status(status)
    known: dict[str, Any] = {"status": status, "errors": _details(problem.get("errors"))}
    if code:
        known["code"] = code
    if isinstance(problem.get("retryable"), bool):
        known["retryable"] = problem["retryable"]
    if request_id := text_of(problem.get("request_id")):
        known["request_id"] = request_id
    wait_ms = problem.get("retry_after_ms")
    if isinstance(wait_ms, int) and not isinstance(wait_ms, bool) and wait_ms >= 0:
        known["retry_after"] = wait_ms / 1000
    texts = (problem.get("detail"), problem.get("message"), problem.get("title"))
    return kind(next(filter(None, map(text_of, texts)), ""), **known)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3); None for garbage."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:12])  # 12 digits are 30,000 years: no OverflowError, no cost
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # heavy, and rarely needed

    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _mending(reason: str) -> str:
    """What helps where the system's own words tell more than that there is no connection."""
    return next((advice for sign, advice in _SIGNS.items() if sign in reason), "")


def _now() -> datetime:
    return datetime.now(UTC)


def _problem(response: Response) -> Mapping[str, Any] | None:
    """Take a JSON object as a problem whatever its media type says: proxies rewrite that."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and ("code" in body or "status" in body) else None


def _bare(response: Response) -> ApiError:
    """Judge an answer without a problem document, which the server itself never sends."""
    status = response.status
    media = response.headers.get("content-type", "no content type").split(";")[0]
    what = f"{media[:80]}, {len(response.content)} bytes"
    text = f"HTTP {status} of a proxy, or of a server that is not TrailSeal ({what})."
    known: dict[str, Any] = {"status": status}
    if status == 404:
        known["code"] = "route_not_found"
    if status in _ADVICE:
        known["advice"] = _ADVICE[status]
    if 300 <= status <= 399 and (origin := _origin(response.headers.get("location", ""))):
        text = f"HTTP {status}: the base URL redirects to {origin}."
        known["advice"] = "Use the address that it leads to as the base URL."
    return _for_status(status)(text, **known)


def _origin(url: str) -> str:
    """The scheme and the host of a URL: what follows them may be a permission."""
    from urllib.parse import urlsplit  # noqa: PLC0415  # rarely needed

    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}"[:80] if host and host.isprintable() else ""


def _for_status(status: int | None) -> type[ApiError]:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status is None or 500 <= status <= 599:
        return ServerError
    return RequestError if 400 <= status <= 499 else UnexpectedResponseError


def _details(raw: object) -> tuple[ErrorDetail, ...]:
    items = raw[:MAX_DETAILS] if isinstance(raw, list) else []
    return tuple(ErrorDetail.from_dict(item) for item in items if isinstance(item, dict))
