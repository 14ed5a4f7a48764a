"""V9: no operation answers without a right key, and nothing of one tenant reaches another.

The requests are made from the contract: every operation, with every reference that it takes (its
path, `log_id`, `tenant_id`, `channel`, …) leading to an object of tenant A, sent by tenant B's
all-powerful key. Each is held against the same request with a reference to nothing: the refusal
must be the same word for word. An operation with a reference that is not known here fails; so does
a GET that shows nothing of A to A, for then its case would show nothing.
"""

import itertools
import json
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from trailseal_server.app import Running, running
from trailseal_server.settings import Settings

from ..spec import DOCUMENT

Json = dict[str, Any]
OPERATIONS: dict[str, tuple[str, str, Json]] = {
    spec["operationId"]: (method.upper(), path, spec)
    for path, item in DOCUMENT["paths"].items()
    for method, spec in item.items()
}
PUBLIC = {"getHealth", "getReadiness", "getMetrics", "uploadContent"}  # no key: said so on purpose
PROTECTED = sorted(OPERATIONS.keys() - PUBLIC)
SCOPES = set(DOCUMENT["components"]["schemas"]["Scope"]["enum"])
MARK = "canary"  # in every text and id of tenant A
NOTHING = "nothing9"  # the id of no object, in the form of any
REVOKED_SEEN = 5.5  # seconds: other processes' keys are remembered for five; ours at once

# What each path parameter of the contract may lead to, by the name of its component.
REFERENCES = {
    "EventIdPath": ("event", NOTHING),
    "LogIdPath": ("log", NOTHING),
    "UploadIdPath": ("upload", f"upl_{NOTHING}"),
    "SearchIdPath": ("search", f"srh_{NOTHING}"),
    "ExportIdPath": ("export", f"op_{NOTHING}"),
    "OperationIdPath": ("operation", f"op_{NOTHING}"),
    "ErasureIdPath": ("erasure", f"op_{NOTHING}"),
    "HoldIdPath": ("hold", f"hld_{NOTHING}"),
    "VerificationKeyIdPath": ("signer", NOTHING),
    "SchemaKeyPath": ("schema", f"sch_{NOTHING}"),
    "ChannelKeyPath": ("channel", f"chn_{NOTHING}"),
    "TenantKeyPath": ("tenant", f"ten_{NOTHING}"),
    "ApiKeyIdPath": ("key", f"key_{NOTHING}"),
    "LogIdQuery": ("log", NOTHING),
    "FilterTenantId": ("tenant_id", NOTHING),
    "EventIdQuery": ("event", NOTHING),
    "ChannelQuery": ("channel", f"chn_{NOTHING}"),
    "FilterSchemaIdExact": ("schema_id", NOTHING),
    "CursorQuery": ("cursor", NOTHING),
}
BODY_REFERENCES = {
    "tenant_id": ("tenant_id", NOTHING),
    "log_id": ("log", NOTHING),
    "default_log_id": ("log", NOTHING),
    "search_id": ("search", f"srh_{NOTHING}"),
    "channel": ("channel", f"chn_{NOTHING}"),
    "cursor": ("cursor", NOTHING),
}
# Parameters that lead to nothing by themselves, or to the objects that others name.
PLAIN = {
    "IngestSourcePath": "generic",
    "TreeSizePath": None,
    "FirstQuery": 1,
    "TilePath": None,
}
ALTERNATIVES = {"EventIdQuery"}  # needed, because without it another one is
# Members of bodies whose names look like references and that are none: they name what is made, or
# what the event says.
OWN_NAMES = {
    *("event_id", "key_id", "public_key", "schema_id", "external_id", "actor_id", "resource_id"),
}
# A log's name is unique among all tenants: taking it is refused, whoever has it.
TAKEN = {("createLog", "log_id")}


def _component(node: Json) -> tuple[str, Json]:
    name = node["$ref"].rpartition("/")[2]
    return name, DOCUMENT["components"]["parameters"][name]


def _schema(node: Json) -> Json:
    while "$ref" in node:
        node = DOCUMENT["components"]["schemas"][node["$ref"].rpartition("/")[2]]
    return node


@dataclass
class World:
    """A server with tenant A, whose objects are all marked, and tenant B."""

    server: Running
    root: httpx.Client
    a: httpx.Client
    b: httpx.Client
    ids: dict[str, str] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> set[str]:
        """Whatever tenant B must never read."""
        return {MARK, *self.ids.values()}


@pytest.fixture(scope="module")
def world(
    make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """On each engine."""
    folder = tmp_path_factory.mktemp("server")
    files = {"log_key_file": folder / "key", "export_dir": folder / "exports"}
    with running(Settings(database_url=make_database(), port=0, **files)) as server:
        clients = [_client(server, server.key)]
        try:
            for name in (f"{MARK}-tenant", "other"):
                key = _key(clients[0], name=f"{name}'s", tenant_id=name)["secret"]
                clients.append(_client(server, key))
            built = World(server, *clients)
            _fill(built)
            yield built
        finally:
            for client in clients:
                client.close()


def _client(server: Running, key: str | None) -> httpx.Client:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=40)


def _key(root: httpx.Client, **given: Any) -> Json:
    body = {"name": "a key", "scopes": ["admin"], **given}
    made: Json = root.post("/v1/api-keys", json=body).raise_for_status().json()
    return made


def _fill(world: World) -> None:
    """Two objects of each kind for A, so that every list has a next page; an event for B."""
    a, ids = world.a, world.ids

    def post(path: str, **body: Any) -> Json:
        answer = a.post(f"/v1/{path}", json=body)
        assert answer.status_code < 300, (path, answer.text)
        made: Json = answer.json()
        return made

    ids["tenant_id"] = f"{MARK}-tenant"
    for number in range(2):
        name = f"{MARK}-{number}"
        signer = b64encode(bytes([number + 1] * 32)).decode()
        ids["event"] = post(
            "events",
            id=name,
            action=name,
            actor={"id": name, "name": name},
            tags={name: name},
            message=name,
            subjects=[name],
        )["event_id"]
        ids["schema_id"] = name
        schema = {"document": {"$id": name, "version": "1", "title": name}}
        ids["schema"] = post("schemas", **schema)["schema_key"]
        ids["channel"] = post("channels", name=name, external_id=name)["channel_key"]
        ids["signer"] = post(
            "keys", key_id=name, algorithm="ed25519", public_key=signer, owner=name
        )["key_id"]
        ids["named_log"] = post("logs", log_id=f"{name}-log", description=name)["log_id"]
        ids["key"] = post("api-keys", name=name, scopes=["admin"])["api_key"]["key_id"]
        search = post("searches", query=name, limit=1)
        ids["search"] = search["search_id"]
        ids["upload"] = post("uploads", compression="none")["upload_id"]
        erased = post("erasures", subject=f"{name}-erased", reason=name)["operation_id"]
        assert (
            a.get(f"/v1/operations/{erased}", params={"wait": 30}).json()["erasure"]["events"] == 0
        )
        ids["erasure"] = erased
        ids["hold"] = post("legal-holds", subject=f"{name}-held", reason=name)["hold_id"]
        exported = post("exports", format="jsonl")["operation_id"]
        ids["export"] = ids["operation"] = exported
        assert (
            a.get(f"/v1/operations/{exported}", params={"wait": 30}).json()["state"] == "succeeded"
        )
        post(f"logs/{ids['tenant_id']}/seal")
    ids["log"] = ids["tenant_id"]  # a default log is named as its tenant where that is possible
    policy = {"rules": [{"schema_id": MARK, "method": "drop"}]}
    a.put("/v1/policies/redaction", json=policy).raise_for_status()
    made = world.root.post("/v1/tenants", json={"tenant_id": ids["tenant_id"], "name": MARK})
    ids["tenant"] = made.json()["tenant_key"]
    size = a.get("/v1/checkpoints/latest").json()["tree_size"]
    world.plain = {"TreeSizePath": size, "TilePath": f"tile/entries/000.p/{size}"}
    world.b.post("/v1/events", json={"id": "mine", "action": "mine"}).raise_for_status()
    world.b.post("/v1/logs/other/seal").raise_for_status()


@dataclass
class Case:
    """A request of one operation, with one reference to an object of A, or with none."""

    name: str
    method: str
    url: str
    params: Json
    body: Any
    reference: str | None = None
    value: str = NOTHING  # what the reference is

    def send(self, client: httpx.Client) -> httpx.Response:
        """As a client."""
        return client.request(self.method, self.url, params=self.params, json=self.body)


def _cases(world: World, name: str, *, real: bool) -> list[Case]:
    """All requests of an operation; with references to nothing unless they are to be real."""
    method, path, spec = OPERATIONS[name]

    def pick(reference: tuple[str, str]) -> str:
        kind, nothing = reference
        return world.ids.get(kind, nothing) if real else nothing

    params: Json = {}
    optional: list[tuple[str, str]] = []
    for component, place, own, required in map(_parameter, spec.get("parameters", [])):
        if place == "path" and component in PLAIN:
            path = path.replace(f"{{{own}}}", str(world.plain.get(component, PLAIN[component])))
        elif place == "path":  # KeyError: a new kind of object needs a reference
            path = path.replace(f"{{{own}}}", pick(REFERENCES[component]))
        elif required:
            params[own] = world.plain.get(component, PLAIN[component])
        elif component in ALTERNATIVES:
            params[own] = pick(REFERENCES[component])
        elif component in REFERENCES:
            optional.append((own, pick(REFERENCES[component])))
        else:
            assert place == "header" or not _is_name(own), f"what is {own}?"
    body, members = _bodies(spec, pick)
    first = next(((k, v) for k, v, each in members if each == body), (None, NOTHING))
    cases = [Case(name, method, path, params, body, *first)]
    cases += [Case(name, method, path, {**params, k: v}, body, k, v) for k, v in optional]
    return cases + [Case(name, method, path, params, each, k, v) for k, v, each in members]


def _bodies(
    spec: Json, pick: Callable[[tuple[str, str]], str]
) -> tuple[Any, list[tuple[str, str, Json]]]:
    """The body of the contract's example with the references it needs, and one with each of all."""
    content = spec.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = {k: v for k, v in content.get("example", {}).items() if k not in BODY_REFERENCES}
    schema = _schema(content.get("schema", {}))
    needed = BODY_REFERENCES.keys() & set(schema.get("required", []))
    body |= {name: pick(BODY_REFERENCES[name]) for name in needed}
    found = []
    for member in schema.get("properties", {}):
        if member in BODY_REFERENCES:
            value = pick(BODY_REFERENCES[member])
            found.append((member, value, {**body, member: value}))
        elif member == "events":
            value = pick(BODY_REFERENCES["tenant_id"])
            events = [{"action": "x", "tenant_id": value}]
            found.append((member, value, {"events": events}))
        else:
            assert not _is_name(member), f"what is {member}?"
    return (body if content else None), found


def _parameter(node: Json) -> tuple[str, str, str, bool]:
    component, spec = _component(node)
    return component, spec["in"], spec["name"], spec.get("required", False)


def _is_name(member: str) -> bool:
    return member.endswith(("_id", "_key")) and member not in OWN_NAMES


def _words(answer: httpx.Response) -> Json:
    """A problem without what names this very request."""
    return {k: v for k, v in answer.json().items() if k not in {"instance", "request_id"}}


def _leaks(world: World, text: str) -> list[str]:
    return sorted(secret for secret in world.secrets if secret in text)


def _text(answer: httpx.Response) -> str:
    """Everything of an answer but the path that B itself asked for."""
    if answer.status_code >= 400:
        return json.dumps(_words(answer), ensure_ascii=False)
    return answer.text + str(answer.headers)


def test_v9_only_these_operations_need_no_key() -> None:
    """Whoever opens an operation to everybody has to say so here too."""
    assert {
        name for name, (_, _, spec) in OPERATIONS.items() if not any(spec["security"])
    } == PUBLIC


@pytest.mark.row("L-01")
def test_v9_every_operation_refuses_every_key_that_is_not_right(world: World) -> None:
    """Missing and wrong: 401; revoked and expired: 401 by name; without the scope: 403."""
    root, bodies = world.root, "ts_" + "a" * 16 + "_" + "b" * 64
    revoked = _key(root)
    root.delete(f"/v1/api-keys/{revoked['api_key']['key_id']}").raise_for_status()
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
    keys = {
        "unauthenticated": [None, f"{bodies}_{zlib.crc32(bodies.encode()):08x}"],
        "key_revoked": [revoked["secret"]],
        "key_expired": [_key(root, expires_at=soon)["secret"]],
    }
    for code, given in keys.items():
        for key in given:
            with _client(world.server, key) as client:
                for name in PROTECTED:
                    answer = _cases(world, name, real=True)[0].send(client)
                    assert (answer.status_code, answer.json()["code"]) == (401, code), name
                    assert not _leaks(world, _text(answer)), name
    for scope in sorted(SCOPES):
        others = sorted(SCOPES - {scope, "admin"})
        with _client(world.server, _key(root, scopes=others)["secret"]) as client:
            for name in PROTECTED:
                if OPERATIONS[name][2]["x-scope"] == scope:
                    answer = _cases(world, name, real=True)[0].send(client)
                    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert {OPERATIONS[name][2]["x-scope"] for name in PROTECTED} <= SCOPES | {"any"}


def test_v9_nothing_of_a_tenant_reaches_another_by_any_operation(world: World) -> None:
    """By id, in lists, in errors: B reads what it would read if A did not exist, and changes none
    of it."""
    before = _view(world)
    tried = 0
    # Reads first: some writes keep what B said, and B may read that again.
    for name in sorted(PROTECTED, key=lambda name: OPERATIONS[name][0] != "GET"):
        pairs = zip(_cases(world, name, real=True), _cases(world, name, real=False), strict=True)
        for real, none in pairs:
            tried += 1
            got = real.send(world.b)
            place = (name, real.reference, got.text)
            if (name, real.reference) in TAKEN:
                assert (got.status_code, got.json()["code"]) == (400, "request_invalid"), place
                assert not _leaks(world, _text(got)), place
                continue
            expected = none.send(world.b)
            # What B said itself may be said back, as often as that of nothing is.
            text, told = _text(got), _text(expected)
            assert text.count(real.value) == told.count(none.value), place
            assert not _leaks(world, text.replace(real.value, none.value)), place
            if expected.status_code >= 400:
                assert got.status_code == expected.status_code, (place, expected.text)
                assert _words(got) == _words(expected), place
            if real.url != none.url or (real.reference == "log_id" and real.body is None):
                assert got.status_code in {403, 404}, place
            elif real.reference is not None:
                assert got.status_code >= 400 or not got.json().get("created"), place
    assert tried > 2 * len(PROTECTED) - 10
    assert _view(world) == before


def _view(world: World) -> dict[str, Any]:
    """What A sees of its own, for every GET that can be asked twice; each shows something of A."""
    seen = {}
    for name in PROTECTED:
        if OPERATIONS[name][0] != "GET":
            continue
        answer = _cases(world, name, real=True)[0].send(world.a)
        assert answer.status_code == 200, (name, answer.text)
        if name not in {"getCapabilities", "getUsage", "getConsistencyProof"}:  # they name nothing
            assert _leaks(world, answer.text), f"{name} shows nothing of A to A: {answer.text}"
        if name != "listApiKeys":  # shows when each key was last used
            seen[name] = answer.text
    found = world.a.post(f"/v1/searches/{world.ids['search']}/results", json={"limit": 10})
    assert _leaks(world, found.text)
    return {**seen, "results": found.text}


def test_v9_another_tenants_cursors_lead_nowhere(world: World) -> None:
    """A cursor of A's list is refused in the same list of B, or shows B's own."""
    tried = 0
    for name in PROTECTED:
        method, path, spec = OPERATIONS[name]
        own = {_component(node)[1]["name"] for node in spec.get("parameters", [])}
        if method != "GET" or "cursor" not in own:
            continue
        page = world.a.get(path, params={"limit": 1}).json()
        cursors = [page.get("next_cursor"), page.get("tail_cursor")]
        for cursor in filter(None, cursors):
            tried += 1
            answer = world.b.get(path, params={"limit": 1, "cursor": cursor})
            assert answer.status_code in {200, 400}, (name, answer.text)
            assert not _leaks(world, answer.text), (name, answer.text)
    assert tried >= 7


def test_v9_counts_totals_and_files_hold_ones_own_alone(world: World) -> None:
    """B has one event: totals, searches, exports, usage and proofs know of no other."""
    b = world.b
    page = b.get("/v1/events", params={"include": "total"}).json()
    assert (page["total"], page["total_exact"]) == (len(page["items"]), True)
    for query in (MARK, f"actor.id={MARK}-0", f'tenant_id="{MARK}-tenant"'):
        found = b.post("/v1/searches", json={"query": query}).json()
        assert (found["count"], found["items"]) == (0, []), query
    restricted = {"query": "", "restrictions": {"tenant_id": [world.ids["tenant_id"]]}}
    assert b.post("/v1/searches", json=restricted).json()["count"] == 0
    for form in ("jsonl", "json", "csv"):
        exported = b.get("/v1/events/export", params={"format": form})
        assert exported.status_code == 200
        assert not _leaks(world, exported.text), form
    made = b.post("/v1/exports", json={"format": "jsonl"}).json()
    ended = b.get(f"/v1/operations/{made['operation_id']}", params={"wait": 30}).json()["export"]
    assert ended["events"] == page["total"]
    for part in ("content", "manifest"):
        assert not _leaks(world, b.get(f"/v1/exports/{ended['export_id']}/{part}").text), part
    assert b.get("/v1/usage").json()["events_this_month"] == page["total"]
    total = world.root.get("/v1/usage").json()["events_this_month"]
    assert total >= page["total"] + 2


def test_v9_the_tree_of_another_tenants_log_is_as_missing_as_none(world: World) -> None:
    """Under /tlog too: for another tenant's key 404, without a key 401, be it there or not."""
    for path in ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"):
        mine = world.a.get(f"/tlog/{world.ids['log']}/{path}")
        assert mine.status_code == 200, mine.text
        answers = [world.b.get(f"/tlog/{log}/{path}") for log in (world.ids["log"], NOTHING)]
        assert [each.status_code for each in answers] == [404, 404]
        assert _words(answers[0]) == _words(answers[1])
        with _client(world.server, None) as nobody:
            answers = [nobody.get(f"/tlog/{log}/{path}") for log in (world.ids["log"], NOTHING)]
        assert [each.status_code for each in answers] == [401, 401]
        assert _words(answers[0]) == _words(answers[1])


def test_v9_an_upload_takes_its_own_token_only(world: World) -> None:
    """The token is the permission: another upload's, or one that was changed, is none."""
    mine = world.b.post("/v1/uploads", json={}).json()
    other = world.a.post("/v1/uploads", json={}).json()
    ids = (other["upload_id"], f"upl_{NOTHING}")
    for token in (mine["token"], other["token"][:-2] + "AA", "x.y"):
        with _client(world.server, None) as nobody:
            answers = [
                nobody.put(
                    f"/v1/uploads/{each}/content",
                    params={"token": token},
                    content=b"{}",
                    headers={"Content-Type": "application/octet-stream"},
                )
                for each in ids
            ]
        assert {each.status_code for each in answers} <= {403, 404}
        assert _words(answers[0]) == _words(answers[1])


def test_v9_an_idempotency_key_is_its_api_keys_own(world: World) -> None:
    """The same Idempotency-Key in another tenant's hands gives none of the first one's answer."""
    for client in (world.a, world.b):  # no hold of another test stops an erasure
        for hold in client.get("/v1/legal-holds").json()["items"]:
            client.delete(f"/v1/legal-holds/{hold['hold_id']}").raise_for_status()
    for name, (method, path, spec) in OPERATIONS.items():
        own = {_component(node)[1]["name"] for node in spec.get("parameters", [])}
        if "Idempotency-Key" not in own:
            continue
        body = spec["requestBody"]["content"]["application/json"]["example"]
        body = {k: v for k, v in body.items() if k not in BODY_REFERENCES}
        url, headers = path.replace("{source}", "generic"), {"Idempotency-Key": f"same-{name}"}
        first, second = (
            client.request(method, url, json=body, headers=headers) for client in (world.a, world.b)
        )
        assert first.status_code == second.status_code < 300, (name, second.text)
        assert not _leaks(world, second.text), name
        made = [each.json() for each in (first, second)]
        for member in ("operation_id", "search_id", "upload_id", "channel_key", "hold_id"):
            if member in made[0]:
                assert made[0][member] != made[1][member], name


def test_v9_there_is_a_reference_for_every_kind_of_object() -> None:
    """A path parameter of the contract that is missing in REFERENCES would be no case."""
    paths = {
        _component(node)[0]
        for _, _, spec in OPERATIONS.values()
        for node in spec.get("parameters", [])
        if _component(node)[1]["in"] == "path"
    }
    assert paths <= REFERENCES.keys() | PLAIN.keys()
    assert len(OPERATIONS) == len(set(itertools.chain(PROTECTED, PUBLIC)))
