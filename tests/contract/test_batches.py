"""Many events in one call: later, as another vendor's payload."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
CLOUDTRAIL = Path(__file__).parents[3] / "shared" / "data" / "cloudtrail.jsonl"


def _later(client: httpx.Client, body: Json, **options: Any) -> httpx.Response:
    return client.post("/v1/events/batch/async", json=body, **options)


def _ended(client: httpx.Client, accepted: httpx.Response) -> Json:
    assert accepted.status_code == 202, accepted.text
    answer = client.get(accepted.headers["location"], params={"wait": 30})
    assert answer.status_code == 200, answer.text
    operation: Json = answer.json()
    return operation


def _ingest(client: httpx.Client, source: str, payload: Any, **options: Any) -> Json:
    answer = client.post(f"/v1/ingest/{source}", json=payload, **options)
    assert answer.status_code == 200, answer.text
    result: Json = answer.json()
    return result


@pytest.mark.row("P-30")
def test_a_batch_for_later_ends_with_a_result_for_each_event(
    client: httpx.Client, log_id: str
) -> None:
    """202 with an operation; its result is what createEvents would have answered."""
    events = [{"id": "a", "action": "x"}, {"action": "y"}, {"id": "b", "action": ""}]
    operation = _ended(client, _later(client, {"events": events}, params={"log_id": log_id}))
    assert (operation["kind"], operation["state"]) == ("batch", "succeeded")
    batch = operation["batch"]
    assert [batch[name] for name in ("created", "duplicate", "failed")] == [2, 0, 1]
    assert [each["status"] for each in batch["results"]] == ["created", "created", "failed"]
    receipt = batch["results"][1]["receipt"]
    assert receipt["event_id"] == f"{operation['operation_id']}:1"
    found = client.get(f"/v1/events/{receipt['event_id']}", params={"log_id": log_id})
    assert found.json()["action"] == "y"


def test_an_atomic_batch_for_later_fails_as_a_whole(client: httpx.Client, log_id: str) -> None:
    """The operation has failed with the problem that createEvents would have answered."""
    body = {"events": [{"action": "x"}, {"action": ""}], "atomic": True}
    operation = _ended(client, _later(client, body, params={"log_id": log_id}))
    assert operation["state"] == "failed"
    assert operation["error"]["errors"][0]["pointer"] == "/events/1/action"
    assert client.get("/v1/events", params={"log_id": log_id}).json()["items"] == []


def test_a_checksum_holds_for_an_event_that_is_named_later(
    client: httpx.Client, log_id: str
) -> None:
    """It covers what was sent; the id that the operation gives is not part of that."""
    good = base64.b64encode(hashlib.sha256(b'{"action":"x"}').digest()).decode()
    events = [{"action": "x", "checksum": good}, {"action": "y", "checksum": good}]
    operation = _ended(client, _later(client, {"events": events}, params={"log_id": log_id}))
    first, second = operation["batch"]["results"]
    assert (first["status"], second["error"]["code"]) == ("created", "checksum_mismatch")


def test_an_idempotency_key_keeps_one_operation(client: httpx.Client, log_id: str) -> None:
    """The same call again answers the same operation."""
    options: Json = {"params": {"log_id": log_id}, "headers": {"Idempotency-Key": f"k-{log_id}"}}
    body = {"events": [{"action": "x"}]}
    first, again = (_later(client, body, **options).json() for _ in range(2))
    assert first["operation_id"] == again["operation_id"]


def test_a_batch_without_a_log_is_refused_at_once(client: httpx.Client) -> None:
    """What can never be stored is not accepted."""
    refused = _later(client, {"events": [{"action": "x"}]}, params={"log_id": "nowhere"})
    assert (refused.status_code, refused.json()["code"]) == (404, "log_not_found")


def test_an_operation_is_for_its_tenant_and_its_scope(
    server: Any,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
    log_id: str,
) -> None:
    """Another tenant's key finds nothing; a key that may not write may not look."""
    mine, other = (
        make_client(server, make_key(tenant_id=f"{who}-{log_id}")) for who in ("mine", "other")
    )
    accepted = _later(mine, {"events": [{"action": "x"}]})
    place = accepted.headers["location"]
    _ended(mine, accepted)
    assert other.get(place).json()["code"] == "operation_not_found"
    assert other.post(f"{place}/cancel").status_code == 404
    reader = make_client(server, make_key(scopes=["exports"], tenant_id=f"mine-{log_id}"))
    assert reader.get(place).json()["code"] == "permission_denied"


@pytest.mark.row("P-31")
def test_an_auth0_stream_is_logged_once(client: httpx.Client, log_id: str) -> None:
    """The payload of the seed: mapped, kept whole, and a second delivery is a duplicate."""
    record = {
        "log_id": "90020240329",
        "data": {
            "date": "2024-03-29T17:26:50.193Z",
            "type": "sapi",
            "description": "Create a log stream",
            "client_id": "cli1",
            "ip": "127.0.0.1",
            "user_agent": "AppleWebKit/537.36",
            "user_id": "auth0|7",
        },
    }
    options = {"params": {"log_id": log_id}}
    first, again = (_ingest(client, "auth0", {"logs": [record]}, **options) for _ in range(2))
    assert (first["created"], again["duplicate"]) == (1, 1)
    assert again["results"][0]["id"] == "auth0:90020240329"
    found = client.get("/v1/events/auth0:90020240329", params={"log_id": log_id}).json()
    assert found["data"] == record
    assert found["actor"] == {"id": "auth0|7", "type": "user"}
    assert (found["action"], found["outcome"]) == ("management_api.call", "success")
    assert found["context"]["source_ip"] == "127.0.0.1"


def test_an_idempotency_key_repeats_the_result_of_a_payload(
    client: httpx.Client, log_id: str
) -> None:
    """Records without id or time are new each time, unless the delivery is named."""
    params = {"log_id": log_id}
    headers = {"Idempotency-Key": f"k-{log_id}"}
    payload = [{"what": "no id, no time"}]
    results = [_ingest(client, "generic", payload, params=params, headers=headers) for _ in "12"]
    assert results[0] == results[1]
    assert _ingest(client, "generic", payload, params=params)["created"] == 1
    items = client.get("/v1/events", params=params).json()["items"]
    assert [each["action"] for each in items] == ["generic.record"] * 2


@pytest.mark.parametrize("payload", [[], {"logs": []}])
def test_a_payload_without_records_is_refused(client: httpx.Client, payload: Any) -> None:
    """Nothing to log is a mistake of the sender."""
    refused = client.post("/v1/ingest/auth0", json=payload)
    assert (refused.status_code, refused.json()["code"]) == (422, "batch_empty")


def test_a_payload_of_too_many_records_is_refused(client: httpx.Client) -> None:
    """The limit of a batch is the limit of a payload."""
    refused = client.post("/v1/ingest/generic", json=[{"action": "x"}] * 1001)
    assert (refused.status_code, refused.json()["code"]) == (413, "batch_too_large")


@pytest.mark.row("C-04", "C-13")
@pytest.mark.skipif(not CLOUDTRAIL.exists(), reason="the shared folder with the data is missing")
def test_real_cloudtrail_records_are_all_stored_and_found(
    client: httpx.Client, log_id: str
) -> None:
    """103 real records: each accepted, whole under `data`, found by its id, its actor and words."""
    records = [json.loads(line) for line in CLOUDTRAIL.read_text().splitlines()]
    params: Json = {"log_id": log_id}
    first = _ingest(client, "cloudtrail", {"Records": records}, params=params)
    assert (first["created"], first["failed"]) == (len(records), 0) == (103, 0)
    again = _ingest(client, "cloudtrail", records, params=params)
    assert again["duplicate"] == 103
    for record in records:
        event_id = f"cloudtrail:{record['eventID']}"
        found = client.get(f"/v1/events/{event_id}", params=params).json()
        assert found["data"] == record
        assert found["occurred_at"] == record["@timestamp"]
        assert found["action"].endswith(f".{record['eventName']}")
        assert {"log_id", "received_at", "ingested_by", "index"} <= found.keys()
    for wanted, count in (
        ({"action_prefix": "s3."}, 11),
        ({"actor_id": "arn:aws:iam::123456789123:user/pedro"}, 87),
        ({"source_ip": "1.2.3.4"}, 98),
        ({"resource_type": "AWS::S3::Object"}, 9),
        ({"q": "GetObject"}, 2),
        (
            {
                "start": "2020-09-14T00:57:41Z",
                "end": "2020-09-14T00:57:41Z",
                "time_field": "occurred_at",
            },
            8,
        ),
    ):
        query = {**params, **wanted, "include": "total"}
        assert client.get("/v1/events", params=query).json()["total"] == count, wanted


@pytest.mark.row("C-03", "C-04", "C-05")
def test_entries_of_put_audit_events_are_checked_and_logged(
    client: httpx.Client, log_id: str
) -> None:
    """`eventData` as a text or an object; a bad checksum, a missing and a long field fail alone."""
    told = {
        "version": "1.0",
        "userIdentity": {"type": "User", "principalId": "p-1"},
        "eventSource": "shop.example",
        "eventName": "OrderPaid",
        "eventTime": "2026-11-20T10:15:30",
        "UID": "uid-1",
        "recipientAccountId": "123456789012",
    }
    text = json.dumps(told)
    good = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    entries = [
        {"id": "one", "eventData": text, "eventDataChecksum": good},
        {"id": "two", "eventData": {**told, "UID": "uid-2"}},
        {"id": "bad", "eventData": text + " ", "eventDataChecksum": good},
        {"id": "no-name", "eventData": {k: v for k, v in told.items() if k != "eventName"}},
        {"id": "long", "eventData": {**told, "requestParameters": {"x": "y" * 100_001}}},
        {"id": "text", "eventData": "{"},
    ]
    result = _ingest(client, "cloudtrail", {"auditEvents": entries}, params={"log_id": log_id})
    codes = [each.get("error", {}).get("code") for each in result["results"]]
    expected = ["checksum_mismatch", "field_required", "field_too_long", "json_invalid"]
    assert codes == [None, None, *expected]
    found = client.get("/v1/events/cloudtrail:one", params={"log_id": log_id}).json()
    assert found["data"] == {**entries[0], "eventData": told}
    assert found["occurred_at"] == "2026-11-20T10:15:30Z"
    assert (found["action"], found["actor"]["id"]) == ("shop.example.OrderPaid", "p-1")


def test_a_webhook_of_github_goes_by_its_delivery(client: httpx.Client, log_id: str) -> None:
    """The headers name the event and the delivery; a redelivery is a duplicate."""
    payload = {
        "action": "opened",
        "sender": {"login": "octo", "type": "User"},
        "pull_request": {
            "html_url": "https://x/1",
            "title": "T",
            "updated_at": "2026-11-20T10:00:00Z",
        },
        "repository": {"full_name": "o/r"},
    }
    headers = {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "72d3162e-cc78-11e3"}
    options: Json = {"params": {"log_id": log_id}, "headers": headers}
    first, again = (_ingest(client, "github", payload, **options) for _ in range(2))
    assert (first["created"], again["duplicate"]) == (1, 1)
    event_id = "github:72d3162e-cc78-11e3"
    found = client.get(f"/v1/events/{event_id}", params={"log_id": log_id}).json()
    assert (found["action"], found["action_type"]) == ("pull_request.opened", "create")
    assert [each["type"] for each in found["resources"]] == ["pull_request", "repo"]
    assert found["data"] == payload
