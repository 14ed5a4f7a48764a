"""What users of the raw client may rely on, whatever the generator's next version writes."""

import copy
import io
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from trailseal_api import AuthenticatedClient, errors
from trailseal_api.api.events import create_event, get_event, list_events
from trailseal_api.api.exports import download_export
from trailseal_api.api.uploads import upload_content
from trailseal_api.models import EventInput, EventPage, IssuedApiKey, Outcome, Problem
from trailseal_api.types import UNSET, Unset

URL = "http://trail.test"
TOKEN = "ts_a1b2c3d4_" + "s" * 40 + "_00000000"
MEGABYTE = 1024 * 1024


def answering(
    status: int, body: bytes, content_type: str = "application/json"
) -> AuthenticatedClient:
    """A client whose every request is answered like this, sync and async."""

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            status, content=body, headers={"content-type": content_type}, request=request
        )

    transport = httpx.MockTransport(handler)
    return AuthenticatedClient(URL, token=TOKEN, httpx_args={"transport": transport})


PAGE = json.dumps({"items": [], "next_cursor": None, "has_more": False}).encode()


async def test_an_endpoint_answers_typed_sync_and_async() -> None:
    """The four functions of a module give the same result."""
    client = answering(200, PAGE)
    assert isinstance(list_events.sync(client=client), EventPage)
    assert isinstance(list_events.sync_detailed(client=client).parsed, EventPage)
    assert isinstance(await list_events.asyncio(client=client), EventPage)
    assert (await list_events.asyncio_detailed(client=client)).status_code == 200


def test_a_problem_document_is_a_typed_result() -> None:
    """An error of the contract is parsed like any other answer."""
    body = {"type": "about:blank", "title": "Not found", "status": 404, "code": "event_not_found"}
    body |= {"detail": "…", "message": "…", "request_id": "r", "retryable": False}
    problem = get_event.sync("evt_1", client=answering(404, json.dumps(body).encode()))
    assert isinstance(problem, Problem)
    assert problem.code == "event_not_found"


@pytest.mark.parametrize("status", [520, 502, 404, 200, 302, 999])
def test_html_of_a_proxy_is_our_error_with_any_status(status: int) -> None:
    """No status and no body crashes the parser, and no message shows the body."""
    client = answering(status, b"<html>secret</html>", "text/html")
    with pytest.raises(errors.ApiError) as caught:
        list_events.sync_detailed(client=client)
    assert caught.value.status_code == status
    assert "secret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b'{"items": 3}', b'{"items": [4]}', b"[" * 100_000]
)
def test_json_of_another_shape_is_our_error(body: bytes) -> None:
    """A documented status with an undocumented body is InvalidResponse, not a KeyError."""
    with pytest.raises(errors.InvalidResponse):
        list_events.sync(client=answering(200, body))


def test_secrets_are_in_no_repr_and_every_request_has_a_timeout() -> None:
    """A client may be logged; and it never waits for ever unless told to."""
    client = AuthenticatedClient(
        URL, token=TOKEN, headers={"X-Secret": "hush"}, cookies={"sid": "hush"}
    )
    assert TOKEN not in repr(client)
    assert "hush" not in repr(client)
    assert client.get_httpx_client().timeout == httpx.Timeout(30.0, connect=5.0)
    assert client.get_async_httpx_client().timeout == httpx.Timeout(30.0, connect=5.0)
    assert client.with_timeout(2.5).get_httpx_client().timeout == httpx.Timeout(2.5)


def test_the_key_is_sent_through_a_users_own_httpx_client() -> None:
    """set_httpx_client() keeps address and key: the connection is the user's, the API is ours."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=PAGE)

    own = httpx.Client(transport=httpx.MockTransport(handler), headers={"X-Mine": "1"})
    list_events.sync(
        client=AuthenticatedClient(URL + "/", token=TOKEN).set_httpx_client(own), limit=3
    )
    assert str(seen[0].url) == f"{URL}/v1/events?limit=3"
    assert seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert seen[0].headers["X-Mine"] == "1"


def test_path_parameters_are_escaped() -> None:
    """An id from outside cannot reach another path (L-12 does not escape)."""
    assert get_event.request_kwargs("../a/b?c")["url"] == "/v1/events/..%2Fa%2Fb%3Fc"


@pytest.mark.parametrize("dots", [".", ".."])
def test_dots_are_an_id_and_no_folder(dots: str) -> None:
    """httpx resolves `/v1/events/.` to the list of events: the id must arrive as an id."""
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(404, content=b"{}")

    transport = httpx.MockTransport(handler)
    client = AuthenticatedClient(URL, token=TOKEN, httpx_args={"transport": transport})
    with pytest.raises(errors.InvalidResponse):
        get_event.sync_detailed(dots, client=client)
    assert seen == [b"/v1/events/" + dots.replace(".", "%2E").encode()]


def test_unknown_enum_values_survive() -> None:
    """A newer server's value is kept, compares, pickles and is written out as it came."""
    outcome = Outcome("postponed")
    assert isinstance(outcome, Outcome)
    assert outcome == "postponed"
    assert pickle.loads(pickle.dumps(outcome)) == copy.deepcopy(outcome) == outcome  # noqa: S301 (our own bytes)
    event = EventInput.from_dict({"action": "a", "outcome": "postponed"})
    assert event.to_dict()["outcome"] == "postponed"
    assert Outcome("success") is Outcome.SUCCESS


def test_unset_stays_unset_through_copies_and_pickles() -> None:
    """What was left out is still left out in another process."""
    assert copy.copy(UNSET) is copy.deepcopy(UNSET) is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET  # noqa: S301 (our own bytes)
    event = EventInput(action="a")
    for twin in (copy.deepcopy(event), pickle.loads(pickle.dumps(event))):  # noqa: S301 (our own bytes)
        assert isinstance(twin.actor, Unset)
        assert twin.to_dict() == {"action": "a"}


def test_free_json_passes_through_untouched() -> None:
    """`data`, `before` and `after` are the caller's: nulls, nesting and numbers included."""
    raw = {
        "action": "a",
        "data": {"n": None, "l": [1, 2.5, {"x": []}]},
        "before": None,
        "after": [0],
    }
    assert EventInput.from_dict(raw).to_dict() == raw


UPLOAD = json.dumps(
    {
        "upload_id": "upl_1",
        "log_id": "acme",
        "state": "open",
        "content_url": "/v1/uploads/upl_1/content?token=t",
        "token": "t",
        "max_bytes": 1,
        "created_at": "2026-11-20T10:15:30.000000Z",
        "expires_at": "2026-11-20T10:30:30.000000Z",
    }
).encode()


async def _chunks() -> AsyncIterator[bytes]:
    yield b"one\n"
    yield b"two\n"


async def test_request_bodies_are_streamed_sync_and_async() -> None:
    """Bytes, an open file and (a)synchronous chunks are all sent as they are."""
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(200, content=UPLOAD)

    async def async_handler(request: httpx.Request) -> httpx.Response:
        sent.append(await request.aread())
        return httpx.Response(200, content=UPLOAD)

    sync = AuthenticatedClient(
        URL, token=TOKEN, httpx_args={"transport": httpx.MockTransport(handler)}
    )
    for body in (b"one\ntwo\n", io.BytesIO(b"one\ntwo\n"), iter([b"one\n", b"two\n"])):
        upload_content.sync_detailed("upl_1", client=sync, body=body, token="t")
    own = AuthenticatedClient(
        URL, token=TOKEN, httpx_args={"transport": httpx.MockTransport(async_handler)}
    )
    for body in (b"one\ntwo\n", io.BytesIO(b"one\ntwo\n"), iter([b"one\n", b"two\n"]), _chunks()):
        await upload_content.asyncio_detailed("upl_1", client=own, body=body, token="t")
    assert sent == [b"one\ntwo\n"] * 7


class _Large(BaseHTTPRequestHandler):
    """300 MB to whoever asks."""

    megabytes = 300

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.megabytes * MEGABYTE))
        self.end_headers()
        for _ in range(self.megabytes):
            self.wfile.write(b"\n" * MEGABYTE)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def large_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Large)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


MEMORY = """
import resource, sys
from trailseal_api import AuthenticatedClient
from trailseal_api.api.exports import download_export
client = AuthenticatedClient(sys.argv[1], token="t")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with download_export.stream("exp_1", client=client) as response:
    total = sum(len(chunk) for chunk in response.iter_bytes())
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX only")
def test_a_download_of_300_megabytes_stays_within_64_megabytes_of_memory(large_server: str) -> None:
    """stream() holds a chunk at a time."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, large_server],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    total, kilobytes = map(int, done.stdout.split())
    assert total == 300 * MEGABYTE
    assert kilobytes < 64 * 1024


def test_a_failed_download_is_an_error_and_not_a_file() -> None:
    """stream() yields 2xx answers only."""
    with (
        pytest.raises(errors.UnexpectedStatus) as caught,
        download_export.stream("exp_1", client=answering(410, b"{}")),
    ):
        pass
    assert caught.value.status_code == 410


LOADED = """
import sys
from trailseal_api.api.events import create_event
print(*sorted(m for m in sys.modules if m.startswith("trailseal_api.models.")))
"""


def test_importing_an_endpoint_loads_only_the_models_that_it_needs() -> None:
    """Building a request needs its enums alone; models load with the first answer or body."""
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.split() == ["trailseal_api.models.event_include"]


def test_a_request_can_be_built_without_being_sent() -> None:
    """request_kwargs() and parse_success() are the two halves that the wrapper builds on."""
    request = create_event.request_kwargs(body=EventInput(action="a", id="evt_1"))
    assert request["method"] == "POST"
    assert request["url"] == "/v1/events"
    assert request["json"] == {"action": "a", "id": "evt_1"}
    assert list_events.parse_success(200, PAGE).items == []
    with pytest.raises(errors.UnexpectedStatus):
        list_events.parse_success(404, b"{}")


def test_a_repr_shows_what_was_set_and_hides_what_is_secret() -> None:
    """Models print well, and a new key's secret is not printed with them."""
    assert repr(EventInput(action="a", id="evt_1")) == "EventInput(action='a', id='evt_1')"
    key = {
        "key_id": "key_a1b2c3d4",
        "name": "n",
        "scopes": [],
        "created_at": "2026-11-20T10:15:30Z",
    }
    issued = IssuedApiKey.from_dict({"api_key": key | {"state": "active"}, "secret": TOKEN})
    assert issued.secret == TOKEN
    assert TOKEN not in repr(issued)
