"""The contract kernel, against small contracts of its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from trailseal_server import contract, strict_json
from trailseal_server.auth import Caller
from trailseal_server.bodies import item_validator
from trailseal_server.edge import Edge
from trailseal_server.problems import Problem

SMALL: dict[str, Any] = {
    "paths": {
        "/things/{thing_id}": {
            "parameters": [
                {"name": "thing_id", "in": "path", "required": True, "schema": {"pattern": "^t"}}
            ],
            "get": {
                "operationId": "getThing",
                "security": [{"apiKey": []}],
                "x-scope": "things:read",
                "parameters": [
                    {"name": "flag", "in": "query", "schema": {"type": "boolean"}},
                    {
                        "name": "size",
                        "in": "query",
                        "schema": {"$ref": "#/components/schemas/Size"},
                    },
                    {
                        "name": "tag",
                        "in": "query",
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {"name": "Trace-Id", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"content": {"application/json": {}}}},
            },
        },
        "/things/fixed": {
            "post": {
                "operationId": "createThings",
                "security": [],
                "requestBody": {
                    "required": True,
                    "x-max-bytes": 200,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Things"}}
                    },
                },
                "responses": {"200": {"content": {"application/json": {}}}},
            },
            "delete": {
                "operationId": "deleteThings",
                "security": [{"apiKey": []}],
                "responses": {"204": {}},
            },
        },
    },
    "components": {
        "schemas": {
            "Size": {"type": "integer", "minimum": 1, "maximum": 9},
            "Thing": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}},
            },
            "Things": {
                "type": "object",
                "required": ["things"],
                "unevaluatedProperties": False,
                "properties": {
                    "things": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 2,
                        "items": {"$ref": "#/components/schemas/Thing"},
                        "x-validate-items-separately": True,
                        "x-error-codes": {"minItems": "batch_empty", "maxItems": "batch_too_large"},
                    }
                },
            },
        }
    },
}


async def _authenticate(request: Request) -> Caller:
    scopes = request.headers.get("scopes", "things:read").split()
    return Caller("key_test", None, None, frozenset(scopes))


def _get(call: contract.Call[None]) -> Response:
    return JSONResponse(dict(call.params))


async def _create(call: contract.Call[None]) -> Response:
    return JSONResponse(call.body)


@pytest.fixture
async def small() -> AsyncIterator[httpx.AsyncClient]:
    """A server of the small contract; deleteThings is not built."""
    served = {"getThing": _get, "createThings": _create}
    routes = contract.routes(SMALL, served, _authenticate)
    fixed = [Route(path, each) for path, each in routes.fixed.items()]
    app = Starlette(routes=[*fixed, *routes.others], middleware=[Middleware(Edge)])
    app.state.services = None
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_parameters_become_typed_values(small: httpx.AsyncClient) -> None:
    """Integers, booleans, arrays and headers; what was not sent is not there."""
    answer = await small.get("/things/t1?flag=true&size=7&tag=a,b&tag=c", headers={"Trace-Id": "x"})
    expected = {"thing_id": "t1", "flag": True, "size": 7, "tag": ["a,b", "c"], "Trace-Id": "x"}
    assert answer.json() == expected
    assert (await small.get("/things/t1")).json() == {"thing_id": "t1"}


@pytest.mark.parametrize(
    ("url", "pointer"),
    [
        ("/things/x1", "/path/thing_id"),
        ("/things/t1?flag=yes", "/query/flag"),
        ("/things/t1?size=10", "/query/size"),
        ("/things/t1?size=1.0", "/query/size"),
        ("/things/t1?size=%EF%BC%91", "/query/size"),
        ("/things/t1?size=", "/query/size"),
        ("/things/t1?size=1&size=1", "/query/size"),
        ("/things/t1?sise=1", "/query/sise"),
    ],
)
async def test_a_bad_parameter_is_named(small: httpx.AsyncClient, url: str, pointer: str) -> None:
    """400 with the pointer of the parameter."""
    answer = await small.get(url)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


async def test_a_fixed_path_comes_before_a_parameter(small: httpx.AsyncClient) -> None:
    """/things/fixed is never a thing's id: its methods are its own."""
    assert (await small.get("/things/fixed")).headers["allow"] == "DELETE, POST"


async def test_scopes_and_operations_without_a_function(small: httpx.AsyncClient) -> None:
    """403 without the scope, `admin` has all, 501 for what is not built."""
    assert (await small.get("/things/t1", headers={"scopes": "other"})).status_code == 403
    assert (await small.get("/things/t1", headers={"scopes": "admin"})).status_code == 200
    assert (await small.delete("/things/fixed")).status_code == 501


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"things": [{"name": "a"}, {"bad": 1}]}, 200, None),
        ({"things": []}, 422, "batch_empty"),
        ({"things": [{}, {}, {}]}, 413, "batch_too_large"),
        ({"things": [1]}, 400, "request_invalid"),
        ({"things": [{}], "more": 1}, 400, "request_invalid"),
        ({"things": [{"name": "x" * 300}]}, 413, "body_too_large"),
    ],
)
async def test_the_envelope_is_checked_and_items_are_left(
    small: httpx.AsyncClient, body: Any, status: int, code: str | None
) -> None:
    """Items are the business of whoever takes them in."""
    answer = await small.post("/things/fixed", json=body)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


def test_an_item_validator_says_what_is_wrong() -> None:
    """Field errors, or nothing."""
    validate = item_validator("Thing", SMALL["components"])
    assert validate({"name": "a"}) == []
    assert [each.pointer for each in validate({})] == ["/name"]


def test_a_function_without_an_operation_is_an_error_at_start() -> None:
    """A typing error in an operationId is found before the first request."""
    with pytest.raises(ValueError, match="getTing"):
        contract.routes(SMALL, {"getTing": _get}, _authenticate)


_text = st.text(st.characters(codec="utf-8"))
_scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _text
_json = st.recursive(
    _scalars, lambda kids: st.lists(kids) | st.dictionaries(_text, kids), max_leaves=20
)


@given(_json, st.booleans())
def test_strict_json_reads_what_json_writes(value: Any, ascii_only: bool) -> None:
    """Every value within the limits, compact or not, escaped or not, reads back as itself."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert strict_json.parse(text.encode()) == value


@given(st.binary(max_size=64))
def test_strict_json_raises_only_its_own_error(raw: bytes) -> None:
    """Any bytes in, a value or `json_invalid` out."""
    try:
        strict_json.parse(raw)
    except Problem as problem:
        code = problem.code
    else:
        code = "json_invalid"
    assert code == "json_invalid"
