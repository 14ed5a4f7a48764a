"""The local registry: what it takes, what it refuses, and what it says of data."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from trailseal.errors import (
    ConfigurationError,
    EventValidationError,
    SchemaConflictError,
    SchemaInvalidError,
    SchemaNotRegisteredError,
)
from trailseal.schemas import Registry

LOGIN: dict[str, Any] = {
    "$id": "urn:test:login",
    "version": "1",
    "type": "object",
    "required": ["method"],
    "properties": {"method": {"enum": ["password", "passkey"]}, "at": {"format": "date-time"}},
    "additionalProperties": False,
}
YAML = """
$id: urn:test:login
version: 1
type: object
required: [method]
properties:
  method: {enum: [password, passkey]}
  at: {format: date-time}
additionalProperties: false
"""


def pointers(error: pytest.ExceptionInfo[Any]) -> list[str]:
    return [each.pointer for each in error.value.errors]


@pytest.mark.row("J-07", "J-17", "J-06")
def test_one_schema_is_the_same_however_it_is_given(tmp_path: Path) -> None:
    """A mapping, JSON or YAML text, files of both, and open files: one id, version and digest."""
    for name, text in (("a.json", json.dumps(LOGIN)), ("a.yaml", YAML)):
        (tmp_path / name).write_text(text)
    registry = Registry()
    with (tmp_path / "a.yaml").open() as text, (tmp_path / "a.json").open("rb") as binary:
        forms = [LOGIN, json.dumps(LOGIN), YAML, tmp_path / "a.json", tmp_path / "a.yaml"]
        found = {registry.register(form).digest for form in [*forms, text, binary]}
    assert len(found) == 1
    assert len(registry) == 1
    assert registry.register_folder(tmp_path)[0].id == "urn:test:login"


@pytest.mark.row("J-17")
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("schemas/login.yaml", "pathlib.Path"),
        (Path("/nowhere/login.yaml"), "cannot be read: No such file"),
        (17, "not int"),
        (io.StringIO("- a list"), "must be an object"),
        ("a: [\n", "is not YAML"),
        ('{"a": 1,}\n\t', "is not JSON"),
        ('{"a": 1, "a": 2}', "member twice"),
        ("a: 1\na: 2\n", "member twice"),
        ("a: &x [1]\nb: *x\n", "alias or an anchor"),
        ("a: !!python/object:os.system {}\n", "YAML tag"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("[" * 100_000 + "\n", "nest deeper"),
        ({"a": {1, 2}}, "set is no JSON"),
        ({"a": 2**60}, "2^53"),
        (b"\xff\xfe", "not bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_schema_is_refused_with_advice(given: Any, advice: str) -> None:
    """A path in a string, a missing file, broken text, hostile YAML: each says what is wrong."""
    with pytest.raises((SchemaInvalidError, ConfigurationError)) as error:
        Registry().register(given)
    assert advice in str(error.value)


def test_yaml_says_what_the_server_would_read() -> None:
    """`no` and dates are text, as in YAML 1.2: no country becomes false."""
    text = "$id: urn:x\nversion: 1\nenum: [no, 2026-01-01, 1.5, true, ~, 0x1, '1', <<]\n"
    made = Registry().register(text)
    assert made.document["enum"] == ["no", "2026-01-01", 1.5, True, None, "0x1", "1", "<<"]


@pytest.mark.row("J-09")
def test_versions_lie_side_by_side() -> None:
    """Two versions check by their own rules; the latest counts where none is named."""
    registry = Registry()
    for version in ("9", "10", "2"):
        registry.register(
            {**LOGIN, "version": version, "required": [], "minProperties": int(version)}
        )
    assert [each.version for each in registry] == ["2", "9", "10"]
    assert registry.get("urn:test:login").version == "10"
    with pytest.raises(EventValidationError):
        registry.validate("urn:test:login", {"method": "passkey"}, version=2)


@pytest.mark.row("J-09", "J-06")
def test_a_version_keeps_its_content() -> None:
    """The same again is fine; other content under a known version is refused."""
    registry = Registry()
    assert registry.register(LOGIN) is registry.register(dict(reversed(LOGIN.items())))
    with pytest.raises(SchemaConflictError, match="new version"):
        registry.register({**LOGIN, "required": []})


@pytest.mark.row("J-18")
def test_the_registry_is_an_object_to_look_into() -> None:
    """register, get, remove, validate, ids, `in`, len and a repr that is JSON."""
    registry = Registry()
    registry.register(LOGIN)
    assert registry.ids == ("urn:test:login",)
    assert "urn:test:login" in registry
    assert ("urn:test:login", 1) in registry
    assert ("urn:test:login", "2") not in registry
    assert json.loads(repr(registry)[9:-1]) == [{"id": "urn:test:login", "version": "1"}]
    registry.validate("urn:test:login", {"method": "passkey"})
    with pytest.raises(SchemaNotRegisteredError, match=r"registered: 1"):
        registry.get("urn:test:login", "7")
    registry.remove("urn:test:login")
    assert "urn:test:login" not in registry
    with pytest.raises(SchemaNotRegisteredError):
        registry.remove("urn:test:login")


@pytest.mark.row("J-06", "J-16", "J-14")
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"$id": None}, "/$id"),
        ({"version": 1.5}, "/version"),
        ({"version": ""}, "/version"),
        ({"type": "strin"}, "/type"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "/$schema"),
        ({"properties": {"__time__": {}}}, "/properties/__time__"),
        ({"properties": {"a": {"properties": {"__x": {}}}}}, "/properties/a/properties/__x"),
        ({"required": ["__x"]}, "/__x"),
        ({"properties": {"a": {"$ref": "https://evil.test/x"}}}, "/properties/a/$ref"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "/properties/a/$ref"),
        ({"properties": {"a": {"$id": "urn:other"}}}, "/properties/a/$id"),
        ({"$dynamicRef": "#a"}, "/$dynamicRef"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "/properties/a/pattern"),
    ],
    ids=str,
)
def test_what_the_server_would_refuse_is_refused_here(change: dict[str, Any], pointer: str) -> None:
    """Wrong schemas, reserved names however deep, references that lead out, costly patterns."""
    with pytest.raises(SchemaInvalidError) as error:
        Registry().register({**LOGIN, **change})
    assert pointers(error) == [pointer] or (pointer.endswith("pattern") and pointers(error) == [""])


@pytest.mark.row("J-16")
def test_an_integer_version_stands_for_its_digits() -> None:
    """`version: 1` is what people write."""
    assert Registry().register({**LOGIN, "version": 1}).version == "1"


@pytest.mark.row("J-12")
def test_faults_have_places_and_repeat_no_value() -> None:
    """Every fault of the data is named with a pointer; no value reaches an error."""
    registry = Registry()
    registry.register(LOGIN)
    with pytest.raises(EventValidationError) as error:
        registry.validate("urn:test:login", {"method": "hunter2", "at": "s3cret", "meth0d": "x"})
    assert {each.pointer for each in error.value.errors} == {
        "/data/method",
        "/data/at",
        "/data/meth0d",
    }
    assert "hunter2" not in repr(error.value.errors)
    assert "s3cret" not in repr(error.value.errors)
    with pytest.raises(EventValidationError) as missing:
        registry.validate("urn:test:login", {})
    assert (missing.value.code, pointers(missing)) == ("field_required", ["/data/method"])


def test_draft_7_is_understood_too() -> None:
    """In draft 7 `items` may be a tuple; its rules hold."""
    draft = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}
    made = Registry().register({"$id": "urn:d7", "version": "1", **draft})
    assert not made.faults([1])
    assert made.faults(["a"])


@pytest.mark.row("J-19")
def test_schemas_that_refer_to_others_become_one() -> None:
    """What `resources` hold is copied in, references of theirs too; nothing is fetched."""
    resources: dict[str, dict[str, Any]] = {
        "https://example.com/actor": {
            "$id": "https://example.com/actor",
            "properties": {"org": {"$ref": "org#/$defs/name"}, "boss": {"$ref": "#"}},
        },
        "https://example.com/org": {"$defs": {"name": {"type": "string"}}},
    }
    schema = {
        "$id": "https://example.com/event",
        "version": "1",
        "properties": {"who": {"$ref": "actor"}, "whom": {"$ref": "https://example.com/actor"}},
    }
    made = Registry().register(schema, resources=resources)
    assert set(made.document["$defs"]) == {"actor", "org"}
    assert not made.faults({"who": {"org": "a", "boss": {"org": "b"}}})
    assert [f.pointer for f in made.faults({"whom": {"boss": {"org": 5}}})] == [
        "/data/whom/boss/org"
    ]
    assert schema["properties"]["who"] == {"$ref": "actor"}, "the caller's is not changed"
    with pytest.raises(SchemaInvalidError, match="resources="):
        Registry().register(schema)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A web server with a schema, a redirect to it, and one far too large."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            moved = self.path == "/schemas/moved"
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("Location", "/schemas/login.yaml")
            self.end_headers()
            self.wfile.write(b"a" * 2_000_000 if self.path.endswith("large") else YAML.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.row("J-08")
def test_a_schema_comes_from_an_allowed_url_and_from_no_other(site: str) -> None:
    """Only below an allowed prefix, without redirects, within a size: however it looks."""
    registry = Registry(allowed_urls=[f"{site}/schemas/"])
    assert registry.register(f"{site}/schemas/login.yaml").id == "urn:test:login"
    for refused in (
        f"{site}/other/login.yaml",
        f"{site}/schemas/../other/login.yaml",
        f"{site}/schemas/%2e%2e/other/login.yaml",
        f"{site}/schemas-evil/login.yaml",
        f"{site.replace('127.0.0.1', 'user@127.0.0.1')}/schemas/login.yaml",
        "https://127.0.0.1/schemas/login.yaml",
    ):
        with pytest.raises(ConfigurationError, match="not allowed"):
            registry.register(refused)
    with pytest.raises(ConfigurationError, match="answers 302"):
        registry.register(f"{site}/schemas/moved")
    with pytest.raises(SchemaInvalidError, match="at most"):
        registry.register(f"{site}/schemas/large")
    with pytest.raises(ConfigurationError, match="not allowed"):
        Registry().register(f"{site}/schemas/login.yaml")


@pytest.mark.row("J-04")
def test_a_registry_may_ask_for_the_classes_of_every_property() -> None:
    """With `require_classes`, a property that names none is refused, nested ones too."""
    strict = Registry(require_classes=True)
    whole = {"x-data-classes": ["unrestricted"], "properties": {"b": {}}}
    with pytest.raises(SchemaInvalidError) as error:
        strict.register({**LOGIN, "properties": {"method": whole}})
    assert pointers(error) == ["/properties/method/properties/b"]


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`import trailseal.schemas` needs jsonschema-rs."""
    for name in [each for each in sys.modules if each.startswith("trailseal.schemas")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigurationError, match=r"trailseal\[schemas\]"):
        __import__("trailseal.schemas")
