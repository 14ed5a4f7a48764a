"""Bodies and parameters that the server must refuse, each with a clear problem and never a 5xx."""

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from trailseal_server import contract

JSON = {"Content-Type": "application/json"}
SECRET = "payload-that-must-not-be-repeated"

MALFORMED = {
    "nothing": b"",
    "cut": b'{"action": "x"',
    "not utf-8": b'{"action": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"action": "x"}',
    "nan": b'{"action": "x", "data": NaN}',
    "infinity": b'{"action": "x", "data": 1e999}',
    "large integer": b'{"action": "x", "data": 9007199254740992}',
    "large float": b'{"action": "x", "data": -1e16}',
    "huge integer": b'{"action": "x", "data": ' + b"9" * 5000 + b"}",
    "lone surrogate": b'{"action": "x", "message": "\\ud800"}',
    "duplicate key": b'{"action": "x", "action": "y"}',
    "nested duplicate key": b'{"action": "x", "data": [{"a": 1, "a": 1}]}',
    "65 levels": b'{"action": "x", "data": ' + b"[" * 64 + b"]" * 64 + b"}",
    "deep": b"[" * 100_000,
    "two values": b'{"action": "x"} {}',
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_body_that_is_not_strict_json_is_400(
    kind: str, client: httpx.Client, log_id: str
) -> None:
    """One text, one meaning: whatever readers could disagree about is refused."""
    answer = client.post(
        "/v1/events", params={"log_id": log_id}, content=MALFORMED[kind], headers=JSON
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "json_invalid"), answer.text


def test_64_levels_and_the_largest_number_are_accepted(client: httpx.Client, log_id: str) -> None:
    """The limits themselves are inside."""
    deep: Any = 2**53 - 1
    for _ in range(63):
        deep = [deep]
    answer = client.post(
        "/v1/events", params={"log_id": log_id}, json={"action": "x", "data": deep}
    )
    assert answer.status_code == 201, answer.text


REFUSED = [
    ({}, "/action", "field_required"),
    ({"action": 3}, "/action", "field_type"),
    ({"action": "x" * 257}, "/action", "field_too_long"),
    ({"action": "x", "acton": SECRET}, "/acton", "event_invalid"),
    ({"action": "x", "__x": SECRET}, "/__x", "field_reserved"),
    ({"action": "x", "outcome": SECRET}, "/outcome", "event_invalid"),
    ({"action": "x", "actor": {"name": SECRET}}, "/actor/id", "field_required"),
    ({"action": "x", "context": {"source_ip": SECRET}}, "/context/source_ip", "event_invalid"),
    ({"action": "x", "tags": {"k": 1}}, "/tags/k", "field_type"),
    ({"action": "x", "id": "batch"}, "/id", "event_invalid"),
    ([], "", "field_type"),
]


@pytest.mark.row("C-08")
@pytest.mark.parametrize(("event", "pointer", "code"), REFUSED)
def test_a_bad_event_is_422_and_names_its_field(
    event: Any, pointer: str, code: str, client: httpx.Client, log_id: str
) -> None:
    """The error has the code, the JSON Pointer and what is allowed, and not what was sent."""
    answer = client.post("/v1/events", params={"log_id": log_id}, json=event)
    assert answer.status_code == 422
    assert (code, pointer) in {(each["code"], each["pointer"]) for each in answer.json()["errors"]}
    assert SECRET not in answer.text


@pytest.mark.row("C-07", "A-07")
def test_a_bad_item_of_a_batch_is_one_failed_item(client: httpx.Client, log_id: str) -> None:
    """The others are stored, results stay in order, and pointers name the place."""
    bad = [{"action": 3}, {"action": "x", "data": 2**60}, {"action": "x", "data": _deep(70)}]
    events = [{"id": "first", "action": "x"}, *bad, {"id": "last", "action": "x"}]
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json={"events": events})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [each["status"] for each in results] == ["created", *["failed"] * len(bad), "created"]
    for position, result in enumerate(results):
        assert result["position"] == position
        for error in result.get("error", {}).get("errors", []):
            assert error["pointer"].startswith(f"/events/{position}")


def test_an_item_that_is_no_object_refuses_the_batch(client: httpx.Client, log_id: str) -> None:
    """It has no id and no tenant: there is no log in which it could fail."""
    body = {"events": [{"action": "x"}, 7]}
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/events/1"


@pytest.mark.row("A-07")
def test_an_atomic_batch_with_a_bad_event_writes_nothing(client: httpx.Client, log_id: str) -> None:
    """422, and the log stays empty."""
    body = {"events": [{"action": "x"}, {"action": 3}], "atomic": True}
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/events/1/action"
    assert client.get("/v1/events", params={"log_id": log_id}).json()["items"] == []


@pytest.mark.row("A-05", "C-02")
@pytest.mark.parametrize(
    ("count", "status", "code"), [(0, 422, "batch_empty"), (1001, 413, "batch_too_large")]
)
def test_a_batch_has_1_to_1000_events(
    count: int, status: int, code: str, client: httpx.Client, log_id: str
) -> None:
    """Both ends have a code of their own."""
    body = {"events": [{"action": "x"}] * count}
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_its_limit_is_413(chunked: bool, client: httpx.Client, log_id: str) -> None:
    """Declared or streamed: an event of more than 1 MiB is refused."""
    text = b'{"action": "x", "message": "' + b"x" * (1 << 20) + b'"}'
    content = (text[at : at + 65536] for at in range(0, len(text), 65536)) if chunked else text
    try:
        answer = client.post("/v1/events", params={"log_id": log_id}, content=content, headers=JSON)
    except (httpx.WriteError, httpx.ReadError):
        assert chunked  # the server may hang up while the body still comes
        return
    assert (answer.status_code, answer.json()["code"]) == (413, "event_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_media_type_or_encoding_is_415(
    headers: dict[str, str], client: httpx.Client, log_id: str
) -> None:
    """A compressed body is refused too: a small one could stand for a huge one."""
    content = gzip.compress(b'{"action": "x"}')
    answer = client.post("/v1/events", params={"log_id": log_id}, content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")


def test_an_answer_that_is_not_accepted_is_406(client: httpx.Client) -> None:
    """The server does not send what the client cannot read."""
    answer = client.get("/v1/events", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


PARAMETERS = [
    ("limt=3", "/query/limt", "request_invalid"),
    ("limit=0", "/query/limit", "limit_invalid"),
    ("limit=1001", "/query/limit", "limit_invalid"),
    ("limit=ten", "/query/limit", "limit_invalid"),
    ("limit=1&limit=2", "/query/limit", "limit_invalid"),
    ("limit=1_0", "/query/limit", "limit_invalid"),
    ("offset=-1", "/query/offset", "offset_invalid"),
    ("cursor=nonsense", "/query/cursor", "cursor_invalid"),
    ("order=up", "/query/order", "request_invalid"),
    ("wait=31", "/query/wait", "request_invalid"),
    ("wait=1", "/query/wait", "request_invalid"),
    ("include=total,everything", "/query/include/1", "request_invalid"),
    ("source_ip=localhost", "/query/source_ip", "request_invalid"),
    ("start=yesterday", "/query/start", "request_invalid"),
    ("log_id=UPPER", "/query/log_id", "request_invalid"),
]


@pytest.mark.row("P-47")
@pytest.mark.parametrize(("query", "pointer", "code"), PARAMETERS)
def test_a_bad_parameter_is_400_and_named(
    query: str, pointer: str, code: str, client: httpx.Client, log_id: str
) -> None:
    """Unknown, repeated, of a wrong type or out of bounds: the problem says which one."""
    own = "" if "log_id" in query else f"&log_id={log_id}"
    answer = client.get(f"/v1/events?{query}{own}")
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert pointer in {each["pointer"] for each in answer.json()["errors"]}


@pytest.mark.row("P-47")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"limit": 0}, "limit_invalid"),
        ({"limit": "ten"}, "limit_invalid"),
        ({"offset": -1}, "offset_invalid"),
        ({"cursor": ""}, "cursor_invalid"),
        ({"cursor": "nonsense"}, "cursor_invalid"),
        ({"limit": 0, "offset": -1}, "request_invalid"),
        ({"limt": 3}, "request_invalid"),
    ],
)
def test_a_bad_page_of_a_search_has_the_code_of_its_member(
    body: dict[str, Any], code: str, client: httpx.Client, log_id: str
) -> None:
    """As for lists, whose parameters have the same codes."""
    client.post("/v1/events", params={"log_id": log_id}, json={"action": "x"})
    found = client.post("/v1/searches", params={"log_id": log_id}, json={"query": ""}).json()
    answer = client.post(f"/v1/searches/{found['search_id']}/results", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    if "limit" in body and len(body) == 1:
        answer = client.post("/v1/searches", params={"log_id": log_id}, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("searches/nope", "search_not_found"),
        ("operations/nope", "operation_not_found"),
        ("exports/nope", "export_not_found"),
        ("exports/nope/content", "export_not_found"),
        ("events/a%20b", "event_not_found"),
        ("events/a%2Fb", "event_not_found"),
        ("events/a%2fredact", "event_not_found"),
        ("events/a%252Fb", "event_not_found"),
        ("events%2Fexport", "route_not_found"),
        ("logs/NOPE", "log_not_found"),
        ("checkpoints/nope", "checkpoint_not_found"),
        ("schemas/nope", "schema_not_registered"),
        ("channels/nope", "channel_not_found"),
        ("tenants/nope", "tenant_not_found"),
        ("api-keys/nope", "key_not_found"),
    ],
)
def test_an_id_of_a_wrong_form_is_as_missing_as_any(
    path: str, code: str, client: httpx.Client
) -> None:
    """404 with the object's code, no rule of its form; an escaped slash is a part of the id."""
    answer = client.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, code), answer.text
    assert "^" not in answer.text


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def integers(schema: Any, schemas: dict[str, Any], path: str = "") -> Iterator[str]:
    """The pointers of all integers of a body's schema; those of events are never counted with."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name == "EventInput":
        return
    if name:
        schema = schemas[name]
    if "integer" in schema.get("type", ()):
        yield path
    parts = [(f"{path}/{key}", each) for key, each in schema.get("properties", {}).items()]
    parts += [(path, each) for key in ("allOf", "anyOf", "oneOf") for each in schema.get(key, ())]
    parts += [
        (f"{path}/*", schema[key]) for key in ("items", "additionalProperties") if key in schema
    ]
    for at, each in parts:
        if isinstance(each, dict):
            yield from integers(each, schemas, at)


def test_integers_of_bodies_are_members_of_the_body() -> None:
    """That is where `20.0` becomes 20 (bodies.py); a deeper one would need more."""
    document = contract.load()
    found: dict[str, list[str]] = {}
    for item in document["paths"].values():
        for spec in (each for each in item.values() if "requestBody" in each):
            content = spec["requestBody"]["content"]
            schema = content.get("application/json", {}).get("schema", {})
            if pointers := sorted(integers(schema, document["components"]["schemas"])):
                found[spec["operationId"]] = pointers
    assert found == {
        "createSearch": ["/limit", "/max_results"],
        "createTenant": ["/events_limit", "/retention_days"],
        "createUpload": ["/bytes"],
        "listSearchResults": ["/limit", "/offset"],
        "rotateApiKey": ["/grace_seconds"],
        "updateTenant": ["/events_limit", "/retention_days"],
    }


def test_an_integer_may_be_written_with_a_zero_fraction(client: httpx.Client, log_id: str) -> None:
    """To JSON Schema 2.0 is an integer, 2.5 is none: so it is to each operation that takes one."""
    for number in range(3):
        sent = {"id": f"e{number}", "action": "a.b"}
        assert client.post("/v1/events", params={"log_id": log_id}, json=sent).status_code == 201

    def post(path: str, expected: int = 201, **body: Any) -> Any:
        answer = client.post(path, json=body)
        assert answer.status_code == expected, answer.text
        return answer.json()

    search = post(f"/v1/searches?log_id={log_id}", limit=2.0, max_results=1e2)
    assert [len(search["items"]), search["count"]] == [2, 3]
    page = f"/v1/searches/{search['search_id']}/results"
    assert len(post(page, 200, limit=2.0, offset=2.0)["items"]) == 1
    assert post(page, 400, offset=2.5)["errors"][0]["pointer"] == "/offset"
    tenant_id = f"ten-{log_id}"
    made = post("/v1/tenants", tenant_id=tenant_id, retention_days=30.0, events_limit=5.0)
    assert (made["retention_days"], made["events_limit"]) == (30, 5)
    path = f"/v1/tenants/{made['tenant_key']}"
    client.put(path, json={"tenant_id": tenant_id, "events_limit": 6.0}).raise_for_status()
    assert '"events_limit":6}' in client.get(path).text
    key = post("/v1/api-keys", name="k", scopes=["events:read"])["api_key"]
    post(f"/v1/api-keys/{key['key_id']}/rotate", grace_seconds=0.0)
    post(f"/v1/uploads?log_id={log_id}", bytes=10.0)
