"""Both clients over the same scripted transport: one behaviour, only our errors."""

from __future__ import annotations

import gzip
import logging
from typing import Any

import httpx
import pytest
from trailseal import _body, errors
from trailseal_api.api.account import get_caller

from .conftest import URL, Script, Side, answer

RECEIPT = {
    "event_id": "e1",
    "log_id": "main",
    "index": 0,
    "state": "pending",
    "replayed": False,
    "leaf_hash": "ab",
    "received_at": "2026-01-01T00:00:00.000000Z",
}
ME = {"key_id": "abcd1234", "name": "n", "scopes": ["events:write"], "expires_at": None}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once: how long they wait is tested in test_retry."""
    monkeypatch.setattr("trailseal._retry.BACKOFF_BASE", 0.0)


@pytest.mark.row("A-04", "L-03", "P-20", "P-27")
def test_log_sends_one_event_and_returns_its_receipt(side: Side, script: Script) -> None:
    """With key, request id and the time of sending."""
    script.steps = [answer(201, RECEIPT)]
    receipt = side(
        "log", "invoice.deleted", actor="user_1", resource=("invoice", "inv_1"), log_id="main"
    )
    assert (receipt.event_id, receipt.index, receipt.state) == ("e1", 0, "pending")
    assert receipt.raw == RECEIPT
    request = script.requests[0]
    assert (request.method, str(request.url)) == (
        "POST",
        "http://server.test/v1/events?log_id=main",
    )
    assert request.headers["authorization"].startswith("Bearer ts_abcd1234_")
    assert {"request-id", "sent-at", "user-agent"} <= set(request.headers)


@pytest.mark.row("A-06")
def test_an_invalid_event_never_reaches_the_network(side: Side, script: Script) -> None:
    """Validation comes before any I/O."""
    with pytest.raises(errors.EventValidationError, match="actor"):
        side("log", "a", actr="u")
    with pytest.raises(errors.EventValidationError):
        side("log_event", {"actor": "u"})
    assert script.requests == []


@pytest.mark.row("A-11", "P-07")
@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.ReadTimeout("x"),
        lambda _request: answer(503),
    ],
)
def test_a_logged_event_is_sent_again_with_the_same_id(
    side: Side, script: Script, fault: Any
) -> None:
    """D1, D3: the id is made before the first try, so a replay is no second event."""
    script.steps = [fault, answer(200, {**RECEIPT, "replayed": True})]
    assert side("log", "a").replayed
    first, second = script.bodies()
    assert first == second
    assert script.requests[1].headers["retry-attempt"] == "1"
    assert script.requests[0].headers["request-id"] == script.requests[1].headers["request-id"]


@pytest.mark.row("L-12")
def test_ids_are_escaped_in_paths_and_never_empty(side: Side, script: Script) -> None:
    """No id can reach another path."""
    script.steps = [answer(200, {"id": "a/../b"})]
    side("get", "a/../b", include_proof=True)
    assert script.requests[0].url.raw_path == b"/v1/events/a%2F..%2Fb?include=proof"
    with pytest.raises(errors.ConfigurationError):
        side("get", "")


@pytest.mark.parametrize(
    ("status", "headers", "content", "kind"),
    [
        (200, {}, b"<html>", errors.UnexpectedResponseError),
        (200, {}, b"[1]", errors.UnexpectedResponseError),
        (200, {}, b"[" * 100_000, errors.UnexpectedResponseError),
        (204, {}, b"", errors.UnexpectedResponseError),
        (302, {"location": "http://evil.test"}, b"", errors.UnexpectedResponseError),
        (404, {}, b"<html>", errors.NotFoundError),
        (520, {}, b"<html>", errors.ServerError),
        (200, {"content-encoding": "gzip"}, b"x", errors.UnexpectedResponseError),
        (200, {"content-encoding": "br"}, b"x", errors.UnexpectedResponseError),
    ],
)
def test_odd_answers_are_errors_of_ours(
    side: Side, script: Script, status: int, headers: dict[str, str], content: bytes, kind: type
) -> None:
    """D9: HTML, lists, redirects, unknown codings; a key is never sent to another place."""
    script.steps = [httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))]
    with pytest.raises(kind):
        side("whoami")
    assert [request.url.host for request in script.requests] == ["server.test"]


@pytest.mark.parametrize(
    "fault",
    [
        httpx.InvalidURL("x"),
        httpx.UnsupportedProtocol("x"),
        httpx.TooManyRedirects("x"),
        httpx.DecodingError("x"),
        httpx.PoolTimeout("x"),
    ],
)
def test_no_exception_of_the_http_library_leaves(
    side: Side, script: Script, fault: Exception
) -> None:
    """Whoever catches TrailSealError has caught everything."""
    script.steps = [fault] * 4
    with pytest.raises(errors.TransportError) as caught:
        side("whoami")
    assert caught.value.request_id == script.requests[0].headers["request-id"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (httpx.RemoteProtocolError("Server disconnected"), "cut off, or no HTTP; is it https?)"),
        (httpx.RemoteProtocolError("peer closed connection"), "cut off, or no HTTP)"),
        (httpx.ReadError(""), "closed or cut off; is it https?)"),
        (httpx.ReadTimeout(""), f"No answer in time ({URL})"),
    ],
)
def test_what_broke_and_where_is_said(
    side: Side, script: Script, fault: Exception, text: str
) -> None:
    """A server that speaks TLS breaks a plain connection: who wrote http:// is asked."""
    script.steps = [fault] * 4
    with pytest.raises(errors.TransportError) as caught:
        side("whoami")
    assert text in str(caught.value)
    assert URL in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get", {"event_id": "\udcff"}),
        ("search", {"query": "\udcff"}),
        ("query", {"actor_id": "\udcff"}),
        ("erase", {"subject": "\udcff", "reason": "x"}),
    ],
)
def test_what_is_no_unicode_is_refused(
    side: Side, script: Script, name: str, arguments: dict[str, str]
) -> None:
    """In a path, a query or a body; as an undecodable argument of a command has it."""
    with pytest.raises(errors.ConfigurationError, match="no Unicode"):  # noqa: PT012  # a list is lazy
        made = side(name, **arguments)
        if name == "query":
            side.listed(made)
    assert script.requests == []


def test_gzip_is_read_and_a_bomb_is_an_error(
    side: Side, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9: what is unpacked counts, and unpacking stops at the limit."""
    monkeypatch.setattr(_body, "MAX_BODY_BYTES", 100_000)

    def zipped(content: bytes) -> httpx.Response:
        stream = httpx.ByteStream(gzip.compress(content))
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    script.steps = [
        zipped(b'{"key_id": "k", "name": "n", "scopes": []}'),
        zipped(b"0" * 10_000_000),
    ]
    assert side("whoami").key_id == "k"
    with pytest.raises(errors.UnexpectedResponseError, match="limit="):
        side("whoami")


def test_views_name_the_member_that_is_wrong(side: Side, script: Script) -> None:
    """A wrong type in an answer is no KeyError somewhere else."""
    script.steps = [answer(200, {**ME, "key_id": 5})]
    caller = side("whoami")
    assert caller.name == "n"
    with pytest.raises(errors.UnexpectedResponseError, match=r"Caller\.key_id"):
        caller.key_id  # noqa: B018  # the access is the test


def test_options_make_another_client_on_the_same_connections(side: Side, script: Script) -> None:
    """Headers are added, the old client is as it was, and only the owner closes."""
    script.steps = [answer(200, ME), answer(200, ME)]
    other = side.client.with_options(headers={"X-Team": "a"}, timeout=5, max_retries=0)
    side.settle(other.whoami())
    side.settle(other.close())
    side("whoami")
    assert [request.headers.get("x-team") for request in script.requests] == ["a", None]
    assert (other._settings.timeout, side.client._settings.timeout) == (5.0, 30.0)


@pytest.mark.row("C-15", "A-25")
def test_a_closed_client_says_so(side: Side, script: Script) -> None:
    """Closing twice is fine, calling afterwards is an error of ours."""
    script.steps = [answer(200, ME)]
    side("whoami")
    side("close")
    side("close")
    with pytest.raises(errors.ClosedError):
        side("whoami")


def test_the_generated_client_has_the_same_key_and_connections(side: Side, script: Script) -> None:
    """`client.api` reaches any endpoint that the wrapper does not."""
    script.steps = [answer(200, ME)]
    name = "asyncio" if side.kind.__name__ == "AsyncClient" else "sync"
    caller = side.settle(getattr(get_caller, name)(client=side.client.api))
    assert caller.name == "n"
    assert script.requests[0].headers["authorization"].startswith("Bearer ts_abcd1234_")


@pytest.mark.row("J-02")
def test_a_disabled_client_takes_events_and_sends_nothing(side: Side, script: Script) -> None:
    """It still refuses invalid events, and reading raises instead of inventing."""
    client = side.make(disabled=True)
    receipt = side.settle(client.log("a", id="e1"))
    assert (receipt.event_id, receipt.state, receipt.index) == ("e1", "disabled", -1)
    assert [r.state for r in side.settle(client.log_bulk([{"action": "a"}])).receipts] == [
        "disabled"
    ]
    with pytest.raises(errors.EventValidationError):
        side.settle(client.log(""))
    with pytest.raises(errors.ConfigurationError, match="disabled"):
        side.settle(client.whoami())
    assert script.requests == []


@pytest.mark.row("A-14", "P-13")
def test_logging_shows_neither_payloads_nor_keys(
    side: Side, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG: method, path and status. No handler and no level is set on the logger."""
    logger = logging.getLogger("trailseal")
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)
    script.steps = [httpx.ConnectError("hush"), answer(201, RECEIPT)]
    with caplog.at_level(logging.DEBUG, logger="trailseal"):
        side("log", "hush.now", data={"password": "hush"}, log_id="main")
    assert "POST /v1/events: 201" in caplog.text
    assert "hush" not in caplog.text
    assert "S" * 16 not in caplog.text


@pytest.mark.row("P-60")
def test_checkpoints_and_proofs_are_fetched(side: Side, script: Script) -> None:
    """The latest or one of a size; proofs by id or index."""
    point = {
        "origin": "x/main",
        "tree_size": 3,
        "root_hash": "ab",
        "signed_note": "n",
        "published_at": "2026-01-01T00:00:00Z",
    }
    script.steps = [
        answer(200, point),
        answer(200, point),
        answer(200, {"hashes": ["aa"]}),
        answer(200, {"hashes": []}),
    ]
    assert side("root").tree_size == 3
    side("root", 3, log_id="main")
    assert side("inclusion_proof", index=0, tree_size=3).hashes == ("aa",)
    assert side("consistency_proof", 1, 3).hashes == ()
    with pytest.raises(errors.ConfigurationError):
        side("inclusion_proof")
    assert [request.url.raw_path.decode() for request in script.requests] == [
        "/v1/checkpoints/latest",
        "/v1/checkpoints/3?log_id=main",
        "/v1/proofs/inclusion?index=0&tree_size=3",
        "/v1/proofs/consistency?first=1&second=3",
    ]
