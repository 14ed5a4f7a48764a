"""Uploads: a signed address, a file of JSON Lines, an operation that logs it."""

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from trailseal_server.store import micros

Json = dict[str, Any]
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def begin(client: httpx.Client, log_id: str) -> Callable[..., Json]:
    """Begins an upload into the test's log."""

    def make(**given: Any) -> Json:
        answer = client.post("/v1/uploads", params={"log_id": log_id}, json=given)
        assert answer.status_code == 201, answer.text
        upload: Json = answer.json()
        return upload

    return make


@pytest.fixture
def stranger(server: Any, make_client: Callable[..., httpx.Client]) -> httpx.Client:
    """A client without a key: the token is the permission."""
    return make_client(server)


def _lines(*events: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


def _put(client: httpx.Client, upload: Json, content: bytes) -> httpx.Response:
    return client.put(upload["content_url"], content=content, headers=BYTES)


def _complete(client: httpx.Client, upload: Json, content: bytes) -> httpx.Response:
    body = {"sha256": hashlib.sha256(content).hexdigest()}
    return client.post(f"/v1/uploads/{upload['upload_id']}/complete", json=body)


def _ended(client: httpx.Client, accepted: httpx.Response) -> Json:
    assert accepted.status_code == 202, accepted.text
    operation: Json = client.get(accepted.headers["location"], params={"wait": 30}).json()
    return operation


@pytest.mark.row("A-08")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_file_is_sent_without_a_key_and_logged(
    compression: str,
    client: httpx.Client,
    stranger: httpx.Client,
    begin: Callable[..., Json],
    log_id: str,
) -> None:
    """Three steps; the result counts every line and shows the failed ones by their place."""
    events: list[Json] = [{"id": f"e{n}", "action": "x"} for n in range(1500)]
    content = (
        _lines(*events, {"action": ""}) + b"\n[]\n{\n" + _lines({"action": "no.id"}, events[0])
    )
    content = gzip.compress(content) if compression == "gzip" else content
    upload = begin(compression=compression, bytes=len(content))
    assert (upload["state"], upload["max_bytes"]) == ("waiting", len(content))
    arrived = _put(stranger, upload, content).json()
    assert (arrived["state"], arrived["bytes"]) == ("received", len(content))
    accepted = _complete(client, upload, content)
    operation = _ended(client, accepted)
    assert (operation["kind"], operation["state"]) == ("upload", "succeeded"), operation
    batch = operation["batch"]
    assert [batch[name] for name in ("created", "duplicate", "failed")] == [1501, 1, 3]
    assert [each["position"] for each in batch["results"]] == [1500, 1501, 1502]
    assert batch["results"][0]["error"]["errors"][0]["pointer"] == "/events/1500/action"
    named = client.get(f"/v1/events/{upload['upload_id']}:1503", params={"log_id": log_id})
    assert named.json()["action"] == "no.id"
    again = _complete(client, upload, content).json()
    assert again["operation_id"] == operation["operation_id"]


@pytest.mark.row("A-09")
def test_an_expired_permission_says_so_and_a_new_one_works(
    client: httpx.Client,
    stranger: httpx.Client,
    begin: Callable[..., Json],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """403 upload_expired, for the file and for its completion; begin again and send again."""
    upload, content = begin(), _lines({"action": "x"})
    _put(stranger, upload, content)
    with monkeypatch.context() as clock:
        clock.setattr(micros, "now", lambda _now=micros.now: _now() + 900_000_001)
        for answer in (_put(stranger, upload, content), _complete(client, upload, content)):
            assert (answer.status_code, answer.json()["code"]) == (403, "upload_expired")
    fresh = begin()
    _put(stranger, fresh, content)
    assert _ended(client, _complete(client, fresh, content))["batch"]["created"] == 1
    late = _put(stranger, fresh, content)
    assert (late.status_code, late.json()["code"]) == (403, "upload_expired")


def test_a_token_is_for_its_upload_only(stranger: httpx.Client, begin: Callable[..., Json]) -> None:
    """Another upload's token, a later expiry and a changed MAC are refused."""
    upload, other = begin(), begin()
    expires, _, mac = upload["token"].partition(".")
    path = f"/v1/uploads/{upload['upload_id']}/content"
    flipped = mac[:-1] + ("0" if mac[-1] != "0" else "1")
    for token in (other["token"], f"{int(expires) + 1}.{mac}", f"{expires}.{flipped}", "x", "é"):
        answer = stranger.put(path, params={"token": token}, content=b"x", headers=BYTES)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_sending_again_replaces_until_completed(
    client: httpx.Client, stranger: httpx.Client, begin: Callable[..., Json]
) -> None:
    """Only the digest of what arrived last completes the upload."""
    upload, first, second = (
        begin(),
        _lines({"action": "a"}),
        _lines({"action": "b"}, {"action": "c"}),
    )
    missing = _complete(client, upload, first)
    assert (missing.status_code, missing.json()["code"]) == (422, "checksum_mismatch")
    for content in (first, second):
        assert _put(stranger, upload, content).status_code == 200
    assert _complete(client, upload, first).json()["code"] == "checksum_mismatch"
    assert _ended(client, _complete(client, upload, second))["batch"]["created"] == 2


def test_a_file_is_bounded_by_what_was_announced(
    stranger: httpx.Client, begin: Callable[..., Json]
) -> None:
    """One byte too many is 413, with a Content-Length and without."""
    upload = begin(bytes=10)

    def pieces() -> Any:
        yield b"x" * 6
        yield b"x" * 5

    for content in (b"x" * 11, pieces()):
        answer = stranger.put(upload["content_url"], content=content, headers=BYTES)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert _put(stranger, upload, b"x" * 10).status_code == 200


def test_a_file_that_is_no_whole_gzip_fails_its_operation(
    client: httpx.Client, stranger: httpx.Client, begin: Callable[..., Json]
) -> None:
    """Neither plain text nor half a file: the operation says what to do."""
    for content in (_lines({"action": "x"}), gzip.compress(_lines({"action": "x"}))[:-4]):
        upload = begin(compression="gzip")
        _put(stranger, upload, content)
        operation = _ended(client, _complete(client, upload, content))
        assert (operation["state"], operation["error"]["code"]) == ("failed", "request_invalid")


def test_an_upload_is_its_tenants_own(
    server: Any,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
    begin: Callable[..., Json],
) -> None:
    """Another tenant's key can complete nothing."""
    other = make_client(server, make_key(tenant_id="another"))
    answer = _complete(other, begin(), b"")
    assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")
