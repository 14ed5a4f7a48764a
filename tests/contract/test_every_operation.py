"""Every operation of the contract against a running server.

Every answer in this folder is held against the contract by the transport of tests/conftest.py.
"""

import re
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ..spec import DOCUMENT

METHODS = ("get", "put", "post", "delete", "patch")
OPERATIONS = {
    spec["operationId"]: (method.upper(), path, spec)
    for path, item in DOCUMENT["paths"].items()
    for method, spec in item.items()
    if method in METHODS
}
PROTECTED = sorted(name for name, (_, _, spec) in OPERATIONS.items() if any(spec["security"]))
BODIES = [
    pytest.param(name, example, id=f"{name}-{number}")
    for name, (_, _, spec) in sorted(OPERATIONS.items())
    for content in spec.get("requestBody", {}).get("content", {}).values()
    for number, example in enumerate(
        [content["example"]]
        if "example" in content
        else [each["value"] for each in content.get("examples", {}).values()]
    )
]


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _request(name: str) -> dict[str, Any]:
    """A request of the operation from the contract's own examples; ids that do not exist."""
    method, path, spec = OPERATIONS[name]
    parameters = [_resolve(each) for each in spec.get("parameters", [])]
    for each in parameters:
        if each["in"] == "path":
            example = each.get("example", _resolve(each["schema"]).get("example"))
            path = path.replace(f"{{{each['name']}}}", str(example))
    query = {
        each["name"]: each["example"]
        for each in parameters
        if each["in"] == "query" and each.get("required")
    }
    return {"method": method, "url": path, "params": query}


def _key(body: str = "ts_" + "a" * 16 + "_" + "b" * 64) -> str:
    return f"{body}_{zlib.crc32(body.encode()):08x}"


BAD_KEYS = {
    "missing": {},
    "unknown": {"Authorization": f"Bearer {_key()}"},
    "mistyped": {"Authorization": f"Bearer {_key()[:-1]}{'0' if _key()[-1] != '0' else '1'}"},
    "malformed": {"Authorization": "Bearer hello"},
    "basic": {"Authorization": "Basic dXNlcjpwYXNz"},
    "huge": {"Authorization": f"Bearer {'x' * 5000}"},
    "empty": {"Authorization": ""},
}


@pytest.mark.row("L-01")
@pytest.mark.parametrize("name", PROTECTED)
def test_no_operation_answers_without_a_good_key(
    name: str, server: Any, make_client: Callable[..., httpx.Client]
) -> None:
    """A missing, unknown, mistyped or malformed key is 401, whatever the rest of the request."""
    client = make_client(server)
    for kind, headers in BAD_KEYS.items():
        answer = client.request(**_request(name), headers=headers)
        assert answer.status_code == 401, (kind, answer.text)
        assert answer.json()["code"] == "unauthenticated"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "x" * 100 not in answer.text


def test_every_operation_is_built_and_answers_its_own_example(client: httpx.Client) -> None:
    """None is unsupported, none answers 5xx to a request made of the contract's examples."""
    assert client.get("/v1/capabilities").json()["unsupported_operations"] == []
    for name in sorted(OPERATIONS):
        answer = client.request(**_request(name))
        assert answer.status_code < 500, (name, answer.text)


@pytest.mark.parametrize(("name", "example"), BODIES)
def test_the_examples_of_the_contract_are_accepted(
    name: str, example: Any, client: httpx.Client
) -> None:
    """A body from the contract is never refused for its form."""
    request = _request(name)
    if isinstance(example, str):
        answer = client.request(
            **request, content=example, headers={"Content-Type": "application/octet-stream"}
        )
    else:
        answer = client.request(**request, json=example)
    refused = {"json_invalid", "request_invalid", "event_invalid", "field_type", "field_required"}
    if answer.status_code >= 400:
        assert answer.json()["code"] not in refused, answer.text
        assert answer.status_code in {404, 409, 410}, answer.text


def test_an_unknown_route_is_404(client: httpx.Client) -> None:
    """A path that the contract does not have."""
    answer = client.get("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/logs/x/seal", "/healthz", "/tlog/x/checkpoint"]
)
def test_a_wrong_method_is_405_with_those_allowed(path: str, client: httpx.Client) -> None:
    """The Allow header lists the methods of the path."""
    answer = client.patch(path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert re.fullmatch(r"[A-Z]+(, [A-Z]+)*", answer.headers["allow"])


def test_the_request_id_is_echoed_or_made(client: httpx.Client) -> None:
    """A well-formed Request-Id comes back, also in a problem; any other is replaced."""
    echoed = client.get("/v1/nothing", headers={"Request-Id": "abc-1"})
    assert echoed.headers["request-id"] == echoed.json()["request_id"] == "abc-1"
    made = client.get("/healthz", headers={"Request-Id": "with space"})
    assert made.headers["request-id"].startswith("req_")


def test_a_key_without_the_scope_is_403(
    server: Any, make_client: Callable[..., httpx.Client], make_key: Callable[..., str]
) -> None:
    """Each operation needs the scope that the contract names."""
    writer = make_client(server, make_key(scopes=["events:write"]))
    for name in PROTECTED:
        scope = OPERATIONS[name][2]["x-scope"]
        if scope not in {"any", "events:write"}:
            answer = writer.request(**_request(name))
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), name
