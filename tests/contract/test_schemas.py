"""Event schemas over HTTP: registering, lists, tenants, and every way in for events."""

from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
_numbers = count(1)


@pytest.fixture
def schema_id() -> str:
    """An id that no other test uses."""
    return f"https://example.com/schemas/{next(_numbers)}"


def _document(schema_id: str, version: str = "1", **members: Any) -> Json:
    own = {"type": "object", "required": ["method"], "properties": {"method": {"type": "string"}}}
    return {"$id": schema_id, "version": version, **own, **members}


def _register(client: httpx.Client, document: Json, **how: Any) -> httpx.Response:
    return client.post("/v1/schemas", json={"document": document, **how})


def _event(schema_id: str, data: Any, version: str = "1", **members: Any) -> Json:
    return {"action": "x", "schema": {"id": schema_id, "version": version}, "data": data, **members}


@pytest.mark.row("J-06", "J-09")
def test_a_schema_is_registered_once_and_read_back(client: httpx.Client, schema_id: str) -> None:
    """201, then 200 for the same text, 409 for another one."""
    document = _document(schema_id)
    first, again = _register(client, document), _register(client, document)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["document"] == document
    assert client.get(f"/v1/schemas/{first.json()['schema_key']}").json() == first.json()
    other = _register(client, {**document, "title": "other"})
    assert (other.status_code, other.json()["code"]) == (409, "schema_version_exists")


@pytest.mark.row("J-07", "J-17")
def test_yaml_text_is_the_same_schema(client: httpx.Client, schema_id: str) -> None:
    """Text or document: one schema."""
    text = f"$id: {schema_id}\nversion: 1\nproperties:\n  method: {{enum: [no, yes]}}\n"
    made = client.post("/v1/schemas", json={"text": text})
    assert made.status_code == 201
    assert made.json()["version"] == "1"
    assert made.json()["document"]["properties"]["method"]["enum"] == ["no", "yes"]
    bad = client.post("/v1/schemas", json={"text": "a: ["})
    assert (bad.status_code, bad.json()["code"]) == (422, "schema_invalid")
    assert "line 2" in bad.json()["detail"]


def test_lists_are_filtered_and_paged(client: httpx.Client, schema_id: str) -> None:
    """By id, by version, the newest ones; in pages that end."""
    keys = [_register(client, _document(schema_id, str(n))).json()["schema_key"] for n in range(3)]

    def listed(**params: Any) -> list[str]:
        page = client.get("/v1/schemas", params={"schema_id": schema_id, **params}).json()
        return [each["schema_key"] for each in page["items"]]

    assert listed() == keys[::-1]
    assert listed(order="asc") == keys
    assert listed(version="1") == [keys[1]]
    assert listed(latest=True) == [keys[2]]
    params: Json = {"schema_id": schema_id, "limit": 2}
    page = client.get("/v1/schemas", params=params).json()
    assert page["has_more"]
    params["cursor"] = page["next_cursor"]
    rest = client.get("/v1/schemas", params=params).json()
    assert [each["schema_key"] for each in rest["items"]] == keys[:1]
    assert not rest["has_more"]


def test_a_deprecated_schema_still_checks(
    client: httpx.Client, schema_id: str, log_id: str
) -> None:
    """Lists mark it; events that name it are stored as before."""
    key = _register(client, _document(schema_id)).json()["schema_key"]
    ended = client.delete(f"/v1/schemas/{key}").json()
    assert ended["state"] == "deprecated"
    assert client.delete(f"/v1/schemas/{key}").json() == ended
    params = {"log_id": log_id}
    good = client.post("/v1/events", params=params, json=_event(schema_id, {"method": "a"}))
    assert good.status_code == 201
    bad = client.post("/v1/events", params=params, json=_event(schema_id, {}))
    assert bad.status_code == 422
    missing = client.delete("/v1/schemas/sch_00000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "schema_not_registered")


def test_validate_says_what_registering_would(client: httpx.Client, schema_id: str) -> None:
    """Errors of form, of reserved names, of compatibility; and nothing is stored."""

    def check(**sent: Any) -> Json:
        found: Json = client.post("/v1/schemas/validate", json=sent).json()
        return found

    assert check(document=_document(schema_id)) == {"valid": True, "errors": []}
    assert client.get("/v1/schemas", params={"schema_id": schema_id}).json()["items"] == []
    bad = check(document=_document(schema_id, properties={"method": {"type": "strin"}}))
    assert bad["errors"][0]["pointer"] == "/document/properties/method/type"
    reserved = check(document=_document(schema_id, properties={"__x": {}}))
    assert "reserved" in reserved["errors"][0]["detail"]
    _register(client, _document(schema_id))
    narrow = _document(schema_id, "2", required=["method", "more"])
    assert check(document=narrow)["valid"]
    broken = check(document=narrow, compatibility="backward")
    assert [each["code"] for each in broken["errors"]] == ["schema_incompatible"]
    refused = _register(client, narrow, compatibility="backward")
    assert (refused.status_code, refused.json()["code"]) == (409, "schema_incompatible")


@pytest.mark.row("J-11", "J-12")
def test_events_are_checked_on_every_way_in(
    client: httpx.Client, schema_id: str, log_id: str
) -> None:
    """One by one, in batches, atomic batches and dry runs; nothing bad is stored."""
    _register(client, _document(schema_id))
    good = _event(schema_id, {"method": "a"}, id="good")
    bad = _event(schema_id, {"method": 1}, id="bad")
    unknown = _event(schema_id, {}, "9", id="unknown")
    absent = {key: value for key, value in bad.items() if key != "data"}
    params = {"log_id": log_id}
    single = client.post("/v1/events", params=params, json=bad)
    assert single.status_code == 422
    assert single.json()["errors"][0]["pointer"] == "/data/method"
    none = client.post("/v1/events", params=params, json=unknown)
    assert (none.status_code, none.json()["code"]) == (404, "schema_not_registered")
    body = {"events": [good, bad, unknown, {**absent, "id": "absent"}]}
    batch = client.post("/v1/events/batch", params=params, json=body).json()
    errors = [each.get("error", {}).get("errors", [{}])[0] for each in batch["results"]]
    assert [each.get("code") for each in errors] == [
        None,
        "field_type",
        "schema_not_registered",
        "field_required",
    ]
    assert errors[1]["pointer"] == "/events/1/data/method"
    atomic = {"events": [{**good, "id": "next"}, bad], "atomic": True}
    assert client.post("/v1/events/batch", params=params, json=atomic).status_code == 422
    dry = client.post("/v1/events/validate", params=params, json=body).json()
    assert [each["pointer"] for each in dry["errors"]] == [
        "/events/1/data/method",
        "/events/2/schema",
        "/events/3/data",
    ]
    stored = client.get("/v1/events", params=params).json()["items"]
    assert [each["id"] for each in stored] == ["good"]


def test_a_schema_of_one_tenant_is_not_there_for_another(
    server: Any,
    client: httpx.Client,
    schema_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """404, absent from lists, unknown to events; a shared one is seen and not to be changed."""
    ours, theirs = (
        make_client(server, make_key(tenant_id=f"{schema_id}/{each}")) for each in ("a", "b")
    )
    made = _register(ours, _document(schema_id)).json()
    assert made["tenant_id"] == f"{schema_id}/a"
    key = made["schema_key"]
    for method in ("GET", "DELETE"):
        answer = theirs.request(method, f"/v1/schemas/{key}")
        assert (answer.status_code, answer.json()["code"]) == (404, "schema_not_registered")
    assert theirs.get("/v1/schemas", params={"schema_id": schema_id}).json()["items"] == []
    event = _event(schema_id, {"method": "a"})
    assert theirs.post("/v1/events", json=event).json()["code"] == "schema_not_registered"
    assert ours.post("/v1/events", json=event).status_code == 201
    named = {**event, "tenant_id": f"{schema_id}/a"}
    assert client.post("/v1/events", json=named).status_code == 201
    shared = _register(client, _document(schema_id, "2")).json()
    assert "tenant_id" not in shared
    assert theirs.post("/v1/events", json={**event, "schema": {"id": schema_id, "version": "2"}})
    refused = theirs.delete(f"/v1/schemas/{shared['schema_key']}")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def test_bombs_and_foreign_references_are_refused_over_http(
    client: httpx.Client, schema_id: str
) -> None:
    """422 and never 5xx: deep YAML, aliases, doubling references, addresses, look-around."""
    for sent in (
        {"text": "- " * 100_000},
        {"text": "a: &a [x]\nb: [*a, *a]"},
        {"document": _document(schema_id, properties={"a": {"$ref": "http://127.0.0.1:9/"}})},
        {"document": _document(schema_id, allOf=[{"$ref": "#"}])},
        {"document": _document(schema_id, pattern="(?=a)(a+)+$")},
    ):
        for path in ("/v1/schemas", "/v1/schemas/validate"):
            answer = client.post(path, json=sent)
            code = answer.json().get("code") or answer.json()["errors"][0]["code"]
            assert (answer.status_code in {200, 422}, code) == (True, "schema_invalid")
