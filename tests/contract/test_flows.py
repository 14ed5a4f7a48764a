"""What calls do together: idempotency, tenants, keys, exports, tails, trees."""

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Json = dict[str, Any]


def _log(client: httpx.Client, log_id: str, *ids: str) -> None:
    body = {"events": [{"id": each, "action": "test.done", "actor": {"id": each}} for each in ids]}
    result = client.post("/v1/events/batch", params={"log_id": log_id}, json=body)
    assert result.json()["created"] == len(ids), result.text


def test_the_same_event_again_is_replayed_and_another_conflicts(
    client: httpx.Client, log_id: str
) -> None:
    """201, then 200 with the first receipt, then 409."""
    event = {"id": "one", "action": "x"}
    first, again, other = (
        client.post("/v1/events", params={"log_id": log_id}, json=each)
        for each in (event, event, {**event, "action": "y"})
    )
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json()["replayed"] is True
    assert again.json()["index"] == first.json()["index"]
    assert other.json()["code"] == "event_id_conflict"


def test_include_proof_waits_for_a_checkpoint(client: httpx.Client, log_id: str) -> None:
    """The receipt comes sealed, with a proof against a signed note of its log."""
    params = {"log_id": log_id, "include": "proof"}
    receipt = client.post("/v1/events", params=params, json={"action": "x"}).json()
    assert receipt["state"] == "sealed"
    assert receipt["proof"]["signed_note"].splitlines()[0].endswith(f"/{log_id}")
    record = client.get(f"/v1/events/{receipt['event_id']}", params=params).json()
    assert record["leaf_hash"] == receipt["leaf_hash"]
    assert hashlib.sha256(b"\0" + record["entry"].encode()).hexdigest() == record["leaf_hash"]


@pytest.mark.row("L-11")
def test_pages_follow_cursors_to_the_end(client: httpx.Client, log_id: str) -> None:
    """Every event once, newest first; the total is exact."""
    _log(client, log_id, *(f"e{number}" for number in range(7)))
    params: Json = {"log_id": log_id, "limit": 3, "include": "total"}
    seen, more = [], True
    while more:
        page = client.get("/v1/events", params=params).json()
        assert (page["total"], page["total_exact"]) == (7, True)
        seen += [each["index"] for each in page["items"]]
        params["cursor"], more = page["next_cursor"], page["has_more"]
    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_a_tail_waits_for_the_next_event(client: httpx.Client, log_id: str) -> None:
    """With a tail cursor, `wait` holds the answer until an event follows."""
    _log(client, log_id, "first")
    params: Json = {"log_id": log_id, "order": "asc"}
    params["cursor"] = client.get("/v1/events", params=params).json()["tail_cursor"]
    assert client.get("/v1/events", params={**params, "wait": 0}).json()["items"] == []
    late = threading.Timer(0.3, _log, (client, log_id, "second"))
    late.start()
    page = client.get("/v1/events", params={**params, "wait": 20}).json()
    late.join()
    assert [each["id"] for each in page["items"]] == ["second"]


def test_an_idempotency_key_answers_the_first_answer(client: httpx.Client, log_id: str) -> None:
    """The same search again is the same search; another body under the key is 409."""
    _log(client, log_id, "one")
    client.post(f"/v1/logs/{log_id}/seal").raise_for_status()  # `state` moves no more
    headers = {"Idempotency-Key": f"key-{log_id}"}

    def search(query: str) -> httpx.Response:
        params = {"log_id": log_id}
        return client.post("/v1/searches", params=params, json={"query": query}, headers=headers)

    first, again, other = search("test"), search("test"), search("other")
    assert first.status_code == again.status_code == 201
    assert len(first.json()["items"]) == 1
    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.row("P-48")
def test_a_search_asserts_its_restrictions(client: httpx.Client, log_id: str) -> None:
    """Another set of restrictions than the search's is 403; a deleted search is 404."""
    _log(client, log_id, "one", "two")
    body = {"query": "test", "restrictions": {"actor.id": ["one"]}}
    search = client.post("/v1/searches", params={"log_id": log_id}, json=body).json()
    assert [each["id"] for each in search["items"]] == ["one"]
    results = f"/v1/searches/{search['search_id']}/results"
    good = client.post(results, json={"assert_restrictions": {"actor.id": ["one"]}})
    assert [each["id"] for each in good.json()["items"]] == ["one"]
    bad = client.post(results, json={"assert_restrictions": {"actor.id": ["two"]}})
    assert (bad.status_code, bad.json()["code"]) == (403, "restriction_mismatch")
    assert client.delete(f"/v1/searches/{search['search_id']}").status_code == 204
    assert client.get(f"/v1/searches/{search['search_id']}").json()["code"] == "search_not_found"


def _export(client: httpx.Client, log_id: str) -> str:
    begun = client.post("/v1/exports", params={"log_id": log_id}, json={})
    assert begun.status_code == 202
    assert begun.headers["location"] == f"/v1/operations/{begun.json()['operation_id']}"
    ended = client.get(begun.headers["location"], params={"wait": 30}).json()
    assert ended["state"] == "succeeded"
    return str(ended["export"]["export_id"])


def test_an_export_is_downloaded_whole_and_in_ranges(client: httpx.Client, log_id: str) -> None:
    """Ranges join to the whole, whose digest is the export's; If-Range guards against splicing."""
    _log(client, log_id, "one", "two", "three")
    export_id = _export(client, log_id)
    path = f"/v1/exports/{export_id}/content"
    whole = client.get(path)
    etag, size = whole.headers["etag"], len(whole.content)
    export = client.get(f"/v1/exports/{export_id}").json()
    assert hashlib.sha256(whole.content).hexdigest() == export["sha256"]
    parts = [
        client.get(path, headers={"Range": f"bytes={at}", "If-Range": etag})
        for at in ("0-9", "10-", f"-{size - 10}", f"0-{size + 5}")
    ]
    assert [each.status_code for each in parts] == [206] * 4
    assert parts[0].content + parts[1].content == whole.content
    assert parts[2].content == whole.content[10:]
    assert parts[3].content == whole.content
    assert parts[0].headers["content-range"] == f"bytes 0-9/{size}"
    changed = client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    beyond = client.get(path, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_invalid")
    assert beyond.headers["content-range"] == f"bytes */{size}"
    listed = client.get("/v1/exports", params={"log_id": log_id}).json()["items"]
    assert [each["export_id"] for each in listed] == [export_id]
    assert client.get(f"/v1/exports/{export_id}/manifest").status_code == 200
    assert client.delete(f"/v1/exports/{export_id}").status_code == 204
    assert client.get(path).status_code == 404


def test_events_are_streamed_in_every_format(client: httpx.Client, log_id: str) -> None:
    """exportEvents answers the media type of the format."""
    _log(client, log_id, "one", "two")
    for form, media_type in (
        ("jsonl", "application/x-ndjson"),
        ("json", "application/json"),
        ("csv", "text/csv"),
    ):
        answer = client.get("/v1/events/export", params={"log_id": log_id, "format": form})
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.content.count(b"test.done") == 2


def test_an_empty_log_can_be_sealed(client: httpx.Client, log_id: str) -> None:
    """Its checkpoint has size 0, and is found like any other."""
    params = {"log_id": log_id}
    sealed = client.post(f"/v1/logs/{log_id}/seal").json()
    assert sealed["tree_size"] == 0
    assert client.get("/v1/checkpoints/0", params=params).json() == sealed
    assert client.get("/v1/checkpoints", params=params).json()["items"] == [sealed]


def test_checkpoints_proofs_and_tiles(client: httpx.Client, log_id: str) -> None:
    """seal signs now; both proofs, the checkpoint list and the tiles speak of the same tree."""
    _log(client, log_id, "one")
    first = client.post(f"/v1/logs/{log_id}/seal").json()
    _log(client, log_id, "two", "three")
    second = client.post(f"/v1/logs/{log_id}/seal").json()
    params = {"log_id": log_id}
    assert client.get("/v1/checkpoints/latest", params=params).json() == second
    assert client.get("/v1/checkpoints/1", params=params).json() == first
    listed, cursor = [], {}
    for _ in range(2):
        page = client.get("/v1/checkpoints", params={**params, "limit": 1, **cursor}).json()
        listed += page["items"]
        cursor = {"cursor": page["next_cursor"]}
    assert listed == [second, first]
    proof = client.get("/v1/proofs/inclusion", params={**params, "event_id": "one"}).json()
    assert (proof["tree_size"], proof["signed_note"]) == (3, second["signed_note"])
    grown = client.get("/v1/proofs/consistency", params={**params, "first": 1}).json()
    assert (grown["second"], len(grown["hashes"])) == (3, 2)
    tile = client.get(f"/v1/logs/{log_id}/tiles", params={"path": "tile/0/000.p/3"}).content
    assert tile == client.get(f"/tlog/{log_id}/tile/0/000.p/3").content
    assert tile[:32].hex() == proof["leaf_hash"]
    assert client.get(f"/tlog/{log_id}/checkpoint").text == second["signed_note"]
    keys = client.get("/v1/keys", params=params).json()["items"]
    assert keys[0]["verifier_key"].startswith(second["origin"])


@pytest.mark.parametrize(
    ("path", "given", "code"),
    [
        ("proofs/inclusion", {"index": 1}, "event_not_found"),
        ("proofs/inclusion", {"index": 0, "tree_size": 2}, "checkpoint_not_found"),
        ("proofs/consistency", {"first": 2}, "request_invalid"),
        ("proofs/consistency", {"first": 1, "second": 2}, "checkpoint_not_found"),
        ("checkpoints/2", {}, "checkpoint_not_found"),
        ("logs/{log_id}/tiles", {"path": "tile/0/000.p/2"}, "request_invalid"),
    ],
)
def test_what_the_tree_has_not_reached_is_refused(
    client: httpx.Client, log_id: str, path: str, given: dict[str, Any], code: str
) -> None:
    """A log of one event, sealed: of what lies beyond it there is no proof, checkpoint or tile."""
    _log(client, log_id, "one")
    client.post(f"/v1/logs/{log_id}/seal").raise_for_status()
    answer = client.get(f"/v1/{path.format(log_id=log_id)}", params={"log_id": log_id, **given})
    assert answer.json()["code"] == code


def test_a_public_log_is_read_without_a_key(
    server: Any, client: httpx.Client, log_id: str, make_client: Callable[..., httpx.Client]
) -> None:
    """The tree of a public log needs no key; that of any other does."""
    name = f"public-{log_id}"
    assert client.post("/v1/logs", json={"log_id": name, "public": True}).status_code == 201
    assert client.post("/v1/logs", json={"log_id": name, "public": True}).status_code == 200
    assert client.post("/v1/logs", json={"log_id": name}).status_code == 400
    _log(client, name, "one")
    client.post(f"/v1/logs/{name}/seal")
    stranger = make_client(server)
    assert stranger.get(f"/tlog/{name}/checkpoint").status_code == 200
    assert stranger.get(f"/tlog/{log_id}/checkpoint").status_code == 401


@pytest.mark.row("L-06")
def test_another_tenants_objects_are_not_there(
    server: Any,
    client: httpx.Client,
    log_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """A tenant-bound key gets 404 for everything of another tenant, and its lists show its own."""
    tenants = [f"ten-a-{log_id}", f"ten-b-{log_id}"]
    ours, theirs = (make_client(server, make_key(tenant_id=each)) for each in tenants)
    for each in (ours, theirs):
        assert each.post("/v1/events", json={"id": "same", "action": "x"}).status_code == 201
    foreign = ours.get("/v1/events/same").json()["log_id"]
    ours.post(f"/v1/logs/{foreign}/seal")
    search = ours.post("/v1/searches", json={"query": "x"}).json()["search_id"]
    export = ours.post("/v1/exports", json={}).json()["operation_id"]
    key_id = ours.get("/v1/me").json()["key_id"]
    params = {"log_id": foreign}
    for method, path in (
        ("GET", "/v1/events"),
        ("GET", "/v1/events/same"),
        ("GET", "/v1/events/export"),
        ("GET", "/v1/exports"),
        ("GET", "/v1/checkpoints"),
        ("GET", "/v1/checkpoints/latest"),
        ("GET", "/v1/checkpoints/1"),
        ("GET", "/v1/proofs/inclusion?index=0"),
        ("GET", "/v1/proofs/consistency?first=1"),
        ("GET", "/v1/keys"),
    ):
        url = httpx.URL(path).copy_merge_params(params)
        assert theirs.request(method, url).json()["code"] == "log_not_found", path
    for method, path in (
        ("GET", f"/v1/logs/{foreign}"),
        ("POST", f"/v1/logs/{foreign}/seal"),
        ("GET", f"/v1/logs/{foreign}/tiles?path=tile/0/000.p/1"),
        ("GET", f"/tlog/{foreign}/checkpoint"),
        ("GET", f"/tlog/{foreign}/tile/0/000.p/1"),
        ("GET", f"/v1/searches/{search}"),
        ("DELETE", f"/v1/searches/{search}"),
        ("GET", f"/v1/exports/{export}"),
        ("GET", f"/v1/exports/{export}/content"),
        ("GET", f"/v1/exports/{export}/manifest"),
        ("DELETE", f"/v1/exports/{export}"),
        ("GET", f"/v1/operations/{export}"),
        ("POST", f"/v1/operations/{export}/cancel"),
        ("GET", f"/v1/api-keys/{key_id}"),
        ("DELETE", f"/v1/api-keys/{key_id}"),
    ):
        assert theirs.request(method, path).status_code == 404, path
    assert theirs.post("/v1/exports", json={"search_id": search}).status_code == 404
    written = theirs.post("/v1/events", params=params, json={"action": "x"})
    assert written.json()["code"] == "log_not_found"
    named = theirs.post("/v1/events", json={"action": "x", "tenant_id": tenants[0]})
    assert (named.status_code, named.json()["code"]) == (403, "tenant_mismatch")
    assert (
        theirs.post(
            "/v1/api-keys", json={"name": "n", "scopes": ["admin"], "tenant_id": tenants[0]}
        ).status_code
        == 403
    )
    assert {each["tenant_id"] for each in theirs.get("/v1/logs").json()["items"]} == {tenants[1]}
    assert {each["tenant_id"] for each in theirs.get("/v1/api-keys").json()["items"]} == {
        tenants[1]
    }


def test_a_revoked_and_an_expired_key_are_401(
    server: Any,
    client: httpx.Client,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """A key ends at once when it is revoked, although the server remembers keys."""
    user = make_client(server, make_key(scopes=["events:read"]))
    key_id = user.get("/v1/me").json()["key_id"]
    assert client.delete(f"/v1/api-keys/{key_id}").json()["revoked_at"]
    assert user.get("/v1/me").json()["code"] == "key_revoked"
    late = make_client(server, make_key(expires_at="2020-01-01T00:00:00Z"))
    answer = late.get("/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")


def test_validate_finds_what_logging_would_refuse_and_stores_nothing(
    client: httpx.Client, log_id: str
) -> None:
    """The same errors as createEvents, and an empty log."""
    events = [{"id": "a", "action": "x"}, {"id": "a", "action": "x"}, {"action": 1}]
    params = {"log_id": log_id}
    found = client.post("/v1/events/validate", params=params, json={"events": events}).json()
    assert found["valid"] is False
    assert {each["pointer"] for each in found["errors"]} == {"/events/1/id", "/events/2/action"}
    assert client.get("/v1/events", params=params).json()["items"] == []
