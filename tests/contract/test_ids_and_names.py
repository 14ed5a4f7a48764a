"""NUL in ids and names, descriptions of logs, limits of schemas: the same on every engine."""

from typing import Any

import httpx
import pytest

Json = dict[str, Any]
NUL = "a\0b"
EVENTS: list[tuple[Json, str]] = [
    ({"tenant_id": NUL}, "/tenant_id"),
    ({"action": NUL}, "/action"),
    ({"actor": {"id": NUL}}, "/actor/id"),
    ({"actor": {"id": "x", "on_behalf_of": [{"id": NUL}]}}, "/actor/on_behalf_of/0/id"),
    ({"resources": [{"id": "x", "name": NUL}]}, "/resources/0/name"),
    ({"source": {"name": NUL}}, "/source/name"),
    ({"context": {"session_id": NUL}}, "/context/session_id"),
    ({"tags": {"k": NUL}}, "/tags/k"),
    ({"tags": {NUL: "v"}}, "/tags"),
    ({"subjects": [NUL]}, "/subjects/0"),
    ({"schema": {"id": NUL, "version": "1"}, "data": 1}, "/schema/id"),
]


@pytest.mark.parametrize(("part", "pointer"), EVENTS)
def test_nul_in_what_events_are_found_by_is_422_and_named(
    part: Json, pointer: str, client: httpx.Client, log_id: str
) -> None:
    """PostgreSQL's text cannot hold it: refused on every engine, with the field."""
    event = {"action": "x", **part}
    answer = client.post("/v1/events", params={"log_id": log_id}, json=event)
    assert (answer.status_code, answer.json()["code"]) == (422, "event_invalid"), answer.text
    assert pointer in {each["pointer"] for each in answer.json()["errors"]}
    if pointer != "/tags":
        assert "NUL" in answer.json()["detail"]


def test_nul_in_free_text_is_kept(client: httpx.Client, log_id: str) -> None:
    """`message`, reasons and free JSON come back as they were, and are found by their words."""
    event = {
        "action": "x",
        "message": f"word\0{log_id}",
        "reason": {"message": NUL},
        "data": {NUL: [NUL]},
        "before": NUL,
        "actor": {"id": "x", "attributes": {NUL: NUL}},
    }
    params = {"log_id": log_id}
    receipt = client.post("/v1/events", params=params, json=event)
    assert receipt.status_code == 201, receipt.text
    path = f"/v1/events/{receipt.json()['event_id']}"
    assert event.items() <= client.get(path, params=params).json().items()
    assert len(client.get("/v1/events", params={**params, "q": "word"}).json()["items"]) == 1


REQUESTS: list[tuple[str, Json, str]] = [
    ("tenants", {"tenant_id": NUL}, "/tenant_id"),
    ("tenants", {"tenant_id": "x", "name": NUL}, "/name"),
    ("channels", {"name": NUL}, "/name"),
    ("api-keys", {"name": NUL, "scopes": ["admin"]}, "/name"),
    ("api-keys", {"name": "x", "scopes": ["admin"], "tenant_id": NUL}, "/tenant_id"),
    ("logs", {"log_id": "x", "description": NUL}, "/description"),
    ("logs", {"log_id": "x", "tenant_id": NUL}, "/tenant_id"),
    ("searches", {"restrictions": {"actor.id": [NUL]}}, "/restrictions/actor.id/0"),
    ("exports", {"filter": {"actor_id": NUL}}, "/filter/actor_id"),
]


@pytest.mark.parametrize(("path", "body", "pointer"), REQUESTS)
def test_nul_in_other_names_is_400_and_named(
    path: str, body: Json, pointer: str, client: httpx.Client
) -> None:
    """Wherever a text becomes a column or a term."""
    answer = client.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["actor_id", "action_contains", "tag", "q", "schema_id"])
def test_nul_in_a_filter_is_400_and_named(name: str, client: httpx.Client, log_id: str) -> None:
    """Nothing that is stored could match."""
    answer = client.get("/v1/events", params={"log_id": log_id, name: "a:\0"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"].startswith(f"/query/{name}")


@pytest.mark.parametrize("member", ["$id", "version"])
def test_nul_in_a_schemas_own_name_is_422(member: str, client: httpx.Client) -> None:
    """The document's `$id` and `version` are names as the request's are."""
    document = {"$id": "x", "version": "1", member: NUL}
    answer = client.post("/v1/schemas", json={"document": document})
    assert (answer.status_code, answer.json()["code"]) == (422, "schema_invalid"), answer.text


def test_a_log_keeps_its_description(client: httpx.Client, log_id: str) -> None:
    """It is shown, and part of what makes the same input the same."""
    body = {"log_id": f"{log_id}-d", "description": "Payments of Zoë"}
    made, again = (client.post("/v1/logs", json=body) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json() == client.get(f"/v1/logs/{log_id}-d").json()
    assert made.json()["description"] == body["description"]
    other = client.post("/v1/logs", json={**body, "description": "other"})
    assert (other.status_code, other.json()["code"]) == (400, "request_invalid")


def test_an_event_with_too_many_values_is_413_one_failed_item_and_invalid(
    client: httpx.Client, log_id: str
) -> None:
    """10,000 values at any depth; commas within texts do not count."""
    params = {"log_id": log_id}
    good = {"action": "x", "message": "," * 30_000, "data": [[]] * 9_900}
    bad = {"id": "bad", "action": "x", "data": [[]] * 10_000}
    alone = client.post("/v1/events", params=params, json=bad)
    assert (alone.status_code, alone.json()["code"]) == (413, "event_too_large")
    batch = client.post("/v1/events/batch", params=params, json={"events": [bad, good]}).json()
    assert [each["status"] for each in batch["results"]] == ["failed", "created"], batch
    assert batch["results"][0]["error"]["code"] == "event_too_large"
    dry = client.post("/v1/events/validate", params=params, json={"events": [bad, good]}).json()
    assert [(each["code"], each["pointer"]) for each in dry["errors"]] == [
        ("event_too_large", "/events/0")
    ]


def test_capabilities_name_the_limits_of_schemas(client: httpx.Client) -> None:
    """A schema at a limit is taken, one beyond it is not."""
    limits = client.get("/v1/capabilities").json()["limits"]
    for count, valid in ((limits["schema_patterns"], True), (limits["schema_patterns"] + 1, False)):
        properties = {f"p{number}": {"pattern": "a"} for number in range(count)}
        document = {"$id": "limit", "version": "1", "properties": properties}
        check = client.post("/v1/schemas/validate", json={"document": document}).json()
        assert check["valid"] is valid
