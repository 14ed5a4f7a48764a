"""Downloads: whole or not at all, in constant memory, and on from where they broke.

1. After a cut a download goes on with Range and If-Range. Content that changed, or a server that
   ignores Range, starts it again: never are two versions spliced.
2. The API key goes to the client's own server alone. Redirects are followed, never from https to
   http, and none of them is told more than the range that is wanted.

What is done with the bytes is in `_targets`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

from trailseal import errors
from trailseal._call import request
from trailseal._flow import Attempt, Flow, Request, Response
from trailseal._retry import delay, may_retry
from trailseal._targets import Target
from trailseal.config import Settings
from trailseal.errors import ConfigurationError, DownloadError, ServerError, TransportError

MAX_RESUMES = 1000  # each with progress: a line that breaks more often is no line
MAX_RESTARTS = 3  # content that changes more often while it is fetched never ends
MAX_REDIRECTS = 5  # a store redirects once or twice
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_OTHER_URL = "Check the URL: one that is signed ends after a while."

MakeRequest = Callable[[Mapping[str, str]], Request]  # from further headers


def fetch(settings: Settings, target: Target, make: MakeRequest) -> Flow[None]:
    """Fetch all bytes; each further request begins where the last one broke.

    Tries are counted anew when bytes arrived. A redirect is taken again from its beginning: what
    it leads to may be signed for minutes only.
    """
    stalls, restarts, hops, pause = 0, 0, 0, 0.0
    url: str | None = None  # where a redirect leads to
    for _ in range(MAX_RESUMES):
        before, ranges = target.size, target.ranges
        asked = make(ranges) if url is None else Request("GET", url, headers=ranges)
        outcome: Response | TransportError = Response(206)  # nothing is missing
        if not before or before != target.total:
            outcome = yield Attempt(asked, pause, target)
        pause = 0.0
        if isinstance(outcome, Response) and outcome.status in REDIRECTS:
            url, hops = _redirected(settings.base_url, asked.url, outcome), hops + 1
            if hops > MAX_REDIRECTS:
                raise DownloadError("The address redirects without end.", advice=_OTHER_URL)
            continue
        url, hops = None, 0
        if _whole(outcome, target):
            if target.right or not target.resumed:
                return
            target.again = True  # what an earlier process left was not right
        if target.again or (isinstance(outcome, Response) and outcome.status == 416):
            restarts += 1
            if restarts > MAX_RESTARTS:
                raise DownloadError("The content changes while it is fetched.")
            target.restart()
            continue
        stalls = 0 if target.size > before else stalls + 1
        begun, own = target.size > 0, asked.url.startswith("/")
        pause = _pause(outcome, stalls, settings.max_retries, begun=begun, own=own)
    raise DownloadError(f"The download was cut {MAX_RESUMES} times.")


def _pause(
    outcome: Response | TransportError, stalls: int, max_retries: int, *, begun: bool, own: bool
) -> float:
    """Seconds before the next try; raises where none would help."""
    error = errors.from_response(outcome) if isinstance(outcome, Response) else outcome
    wait = delay(error, stalls, random.random) if may_retry(error, replayable=True) else None
    if wait is not None and stalls <= max_retries:
        return wait
    if isinstance(error, TransportError | ServerError):
        text = f"The download was cut off. {error.args[0]}" if begun else error.args[0]
        raise DownloadError(text, request_id=error.request_id) from error
    if not own:
        error.advice = _OTHER_URL
    raise error


def download(settings: Settings, target: Target, url: str, sha256: str | None) -> Flow[None]:
    """Fetch what a URL of any place names: the client's own server gets the key, others nothing."""
    place = _checked(url)
    # Another signature of the same thing does not make it another.
    source = hashlib.sha256(f"{place.scheme}://{place.netloc}{place.path}".encode()).hexdigest()
    target.expect(source, None, sha256)
    own = url.startswith(f"{settings.base_url}/")

    def make(more: Mapping[str, str]) -> Request:
        if not own:
            return Request("GET", url, headers=more)
        kwargs = {"method": "GET", "url": url.removeprefix(settings.base_url), "headers": more}
        return request(settings, kwargs)

    yield from fetch(settings, target, make)


def _whole(outcome: Response | TransportError, target: Target) -> bool:
    """Whether all bytes are there, as far as the answer tells."""
    if not isinstance(outcome, Response) or target.again:
        return False
    end = outcome.headers.get("content-range") == f"bytes */{target.size}"  # nothing was missing
    return outcome.status in {200, 206} or (outcome.status == 416 and end)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError where it is no number
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError("The URL is malformed.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ConfigurationError("The URL must begin with http:// or https:// and name a host.")
    return parts


def _redirected(base: str, url: str, outcome: Response) -> str:
    """Where a redirect leads to; raises `DownloadError` where it must not."""
    here = urljoin(f"{base}/", url)
    there = urljoin(here, outcome.headers.get("location", ""))
    try:
        parts = _checked(there)
    except ConfigurationError:
        raise DownloadError("The address redirects to no http(s) URL.", advice=_OTHER_URL) from None
    if parts.scheme == "http" and here.startswith("https:"):
        raise DownloadError("The address redirects from https to http.", advice=_OTHER_URL)
    return there
