"""Redaction, policies, erasure and legal holds over HTTP, on both engines."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
SUBJECT = "user_123"


def event(number: int, **given: Any) -> Json:
    """An event that names its subject everywhere it can."""
    return {
        "id": f"e{number}",
        "occurred_at": "2026-03-04T05:06:07+02:00",
        "action": "invoice.deleted",
        "actor": {"id": SUBJECT, "name": "Ann Example", "email": "ann@example.org"},
        "resources": [{"id": SUBJECT, "name": "Ann's"}, {"id": "inv_1", "type": "invoice"}],
        "context": {"source_ip": "192.0.2.7"},
        "before": {"a": 1},
        "message": "Ann deleted it",
        "data": {"k": ["v", 1]},
        "tags": {"owner": SUBJECT, "env": "prod"},
        "subjects": ["user_7", SUBJECT],
        **given,
    }


def write(client: httpx.Client, log_id: str, *events: Json) -> None:
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json={"events": events})
    assert answer.json()["created"] == len(events), answer.text


def count(client: httpx.Client, log_id: str, **filters: Any) -> int:
    params = {"log_id": log_id, "include": "total", "limit": 1, **filters}
    total: int = client.get("/v1/events", params=params).raise_for_status().json()["total"]
    return total


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def redact(client: httpx.Client, log_id: str, event_id: str, *paths: str) -> httpx.Response:
    body = {"paths": paths, "reason": "ticket 7"}
    return client.post(f"/v1/events/{event_id}/redact", params={"log_id": log_id}, json=body)


def erase(client: httpx.Client, log_id: str, subject: str = SUBJECT) -> Json:
    body = {"subject": subject, "reason": "request 118"}
    made = client.post("/v1/erasures", params={"log_id": log_id}, json=body)
    assert made.status_code == 202, made.text
    place = f"/v1/operations/{made.json()['operation_id']}"
    done: Json = client.get(place, params={"wait": 30}).json()
    assert done["state"] == "succeeded", done
    return done


def test_what_was_redacted_is_gone_from_every_answer(client: httpx.Client, log_id: str) -> None:
    """Records, lists, filters, full text and names; and a second redaction adds to the first."""
    write(client, log_id, event(0), event(1, actor={"id": "u2", "name": "Bob"}, message="kept"))
    assert count(client, log_id, actor_name_contains="ann ex") == 1
    first = redact(client, log_id, "e0", "/actor/name", "/message", "/occurred_at")
    record = first.raise_for_status().json()
    assert record["actor"] == {"id": SUBJECT, "email": "ann@example.org"}
    assert record.keys().isdisjoint({"message", "occurred_at"})
    assert [each["path"] for each in record["redactions"]] == [
        ["actor", "name"], ["message"], ["occurred_at"],
    ]  # fmt: skip
    assert {each["policy"] for each in record["redactions"]} == {"redact"}
    read = client.get("/v1/events/e0", params={"log_id": log_id, "include": "proof"}).json()
    assert "seed" not in read
    assert read["salts"]
    for gone in ({"actor_name_contains": "ann ex"}, {"q": '"ann deleted"'}, {"q": "has:message"}):
        assert count(client, log_id, **gone) == (1 if "has" in str(gone) else 0), gone
    times = {"time_field": "occurred_at", "start": "2026-03-01", "end": "2026-03-31"}
    assert count(client, log_id, **times) == 1
    assert count(client, log_id, q="kept") == 1
    second = redact(client, log_id, "e0", "/data/k/0").json()
    assert second["data"] == {"k": [None, 1]}
    assert len(second["redactions"]) == 4
    assert count(client, log_id, action="trailseal.event.redacted") == 2


def test_the_same_redaction_again_changes_nothing(client: httpx.Client, log_id: str) -> None:
    """It answers the record, and the log tells of one redaction."""
    write(client, log_id, event(0))
    first, again = (redact(client, log_id, "e0", "/context") for _ in range(2))
    assert first.json()["redactions"] == again.json()["redactions"]
    assert count(client, log_id, action="trailseal.event.redacted") == 1


@pytest.mark.parametrize(
    "path", ["/id", "/action", "/schema", "/amends/reason", "/nothing", "/data/9"]
)
def test_what_must_stay_or_is_not_there_is_named(
    client: httpx.Client, log_id: str, path: str
) -> None:
    """Nothing is redacted when one of the paths is a mistake."""
    write(client, log_id, event(0, amends={"event_id": "x", "reason": "y"}))
    answer = redact(client, log_id, "e0", "/context", path)
    assert code(answer) == (400, "request_invalid")
    assert answer.json()["errors"][0]["pointer"] == "/paths/1"
    assert "context" in client.get("/v1/events/e0", params={"log_id": log_id}).json()
    assert code(redact(client, log_id, "e9", "/context")) == (404, "event_not_found")


def test_a_redacted_event_replays_whatever_it_is_compared_with(
    client: httpx.Client, log_id: str
) -> None:
    """Nothing of its content is kept to compare with."""
    write(client, log_id, event(0))
    other = {"id": "e0", "action": "another"}
    assert code(client.post("/v1/events", params={"log_id": log_id}, json=other))[0] == 409
    redact(client, log_id, "e0", "/data")
    again = client.post("/v1/events", params={"log_id": log_id}, json=other)
    assert (again.status_code, again.json()["replayed"]) == (200, True)


def test_a_name_that_went_is_found_when_it_comes_again(client: httpx.Client, log_id: str) -> None:
    """The writer remembers names; what was deleted is written anew."""
    name = {"actor": {"id": "u", "name": "Zacharias"}}
    write(client, log_id, event(0, **name))
    redact(client, log_id, "e0", "/actor/name")
    assert count(client, log_id, actor_name_contains="zachar") == 0
    write(client, log_id, event(1, **name))
    assert count(client, log_id, actor_name_contains="zachar") == 1


def test_an_erasure_takes_the_subject_out_of_every_event(client: httpx.Client, log_id: str) -> None:
    """What identifies it goes, other events and members stay; lists and counts tell of it."""
    write(client, log_id, *(event(n) for n in range(250)), event(999, subjects=["user_7"]))
    search = client.post(
        "/v1/searches", params={"log_id": log_id}, json={"query": "deleted", "limit": 1}
    ).json()
    done = erase(client, log_id)
    assert (done["erasure"]["events"], done["progress"]["done"]) == (250, 250)
    record = client.get("/v1/events/e7", params={"log_id": log_id}).json()
    shown = {"id", "occurred_at", "action", "resources", "tags", "subjects"}
    assert {k: record[k] for k in shown} == {
        "id": "e7",
        "occurred_at": "2026-03-04T05:06:07+02:00",
        "action": "invoice.deleted",
        "resources": [None, {"id": "inv_1", "type": "invoice"}],
        "tags": {"env": "prod"},
        "subjects": ["user_7", None],
    }
    assert record.keys().isdisjoint({"actor", "context", "before", "message", "data"})
    assert count(client, log_id, actor_id=SUBJECT) == 1
    assert count(client, log_id, q=f'subjects="{SUBJECT}"') == 0
    told = client.get("/v1/events", params={"log_id": log_id, "limit": 1}).json()["items"][0]
    assert told["action"] == "trailseal.subject.erased"
    assert told["data"] == {"events": 250, "exports": 0}
    shown_now = client.get(f"/v1/searches/{search['search_id']}").json()["items"]
    assert all("message" not in each for each in shown_now if each["id"] != "e999")
    erasure_id = done["erasure"]["erasure_id"]
    one = client.get(f"/v1/erasures/{erasure_id}").json()
    assert one["state"] == "succeeded"
    assert "subject" not in one
    listed = client.get("/v1/erasures", params={"log_id": log_id}).json()["items"]
    assert listed == [one]


def test_exports_that_hold_erased_fields_are_gone(client: httpx.Client, log_id: str) -> None:
    """410 for their content; an export of other events stays."""
    write(client, log_id, event(0, subjects=[]), event(1))
    made = []
    for body in ({}, {"filter": {"q": "id=e0"}}, {"filter": {"q": 'id="e0"'}, "format": "csv"}):
        answer = client.post("/v1/exports", params={"log_id": log_id}, json=body).json()
        place = f"/v1/operations/{answer['operation_id']}"
        assert client.get(place, params={"wait": 30}).json()["state"] == "succeeded"
        made.append(answer["operation_id"])
    assert erase(client, log_id)["erasure"]["exports"] == 1
    gone, *kept = (client.get(f"/v1/exports/{each}/content") for each in made)
    assert code(gone) == (410, "export_expired")
    assert [each.status_code for each in kept] == [200, 200]
    assert client.get(f"/v1/exports/{made[0]}").json()["state"] == "expired"


def test_a_hold_stops_redaction_and_erasure_until_it_is_released(
    client: httpx.Client, log_id: str
) -> None:
    """Of one subject's events, those that also name another subject included; or of the log."""
    write(client, log_id, event(0), event(1, subjects=["user_8"]))
    here = {"log_id": log_id}
    body = {"subject": "user_7", "reason": "case"}
    key = {"Idempotency-Key": f"hold-{log_id}"}
    hold, again = (
        client.post("/v1/legal-holds", params=here, json=body, headers=key).json() for _ in range(2)
    )
    assert hold == again
    wanted = {"subject": SUBJECT, "reason": "r"}
    for _ in range(2):
        assert code(redact(client, log_id, "e0", "/data")) == (409, "legal_hold")
        refused = client.post("/v1/erasures", params=here, json=wanted)
        assert code(refused) == (409, "legal_hold")
        wanted = {**wanted, "subject": "user_7"}
    assert redact(client, log_id, "e1", "/data").status_code == 200
    released = client.delete(f"/v1/legal-holds/{hold['hold_id']}").json()
    assert released["released_at"]
    assert client.delete(f"/v1/legal-holds/{hold['hold_id']}").json() == released
    assert redact(client, log_id, "e0", "/data").status_code == 200
    whole = client.post("/v1/legal-holds", params=here, json={"reason": "all"}).json()
    assert code(redact(client, log_id, "e1", "/context")) == (409, "legal_hold")
    assert code(client.post("/v1/erasures", params=here, json=wanted)) == (409, "legal_hold")
    listed = client.get("/v1/legal-holds", params={**here, "order": "asc"}).json()["items"]
    assert [each["hold_id"] for each in listed] == [hold["hold_id"], whole["hold_id"]]
    assert code(client.delete("/v1/legal-holds/hld_nothing9")) == (404, "hold_not_found")


LOGIN = {
    "$id": "login",
    "version": "1",
    "properties": {
        "who": {"x-data-classes": ["personal"]},
        "how": {"x-data-classes": ["unrestricted"]},
        "free": {},
        "agent": {"type": "string"},
    },
}


@pytest.mark.row("J-03", "J-04", "J-05")
@pytest.mark.parametrize("method", ["drop", "mask", "hash"])
def test_a_policy_redacts_what_arrives_after_it_was_committed_to(
    client: httpx.Client, log_id: str, method: str
) -> None:
    """By data class and by property, for each schema and for all others; masks and hashes stand
    outside the event, and equal values have equal hashes."""
    here = {"log_id": log_id}
    assert client.get("/v1/policies/redaction", params=here).json() == {"rules": []}
    name = f"login-{log_id}"
    client.post("/v1/schemas", json={"document": {**LOGIN, "$id": name}}).raise_for_status()
    data = {"who": ["Ann", "Ann"], "how": "sso", "free": 1, "agent": "curl"}
    typed = {"action": "login", "schema": {"id": name, "version": "1"}, "data": data}
    write(client, log_id, {"id": "before", **typed})
    rules = [
        {"schema_id": name, "allowed_properties": ["agent"], "method": method},
        {"schema_id": "*", "allowed_properties": ["ok"], "method": "drop"},
    ]
    twice = client.put("/v1/policies/redaction", params=here, json={"rules": [*rules, rules[0]]})
    assert code(twice) == (400, "request_invalid")
    put = client.put("/v1/policies/redaction", params=here, json={"rules": rules}).json()
    assert put["rules"] == rules
    assert put["updated_at"]
    assert client.get("/v1/policies/redaction", params=here).json() == put
    write(client, log_id, {"id": "after", **typed})
    write(
        client, log_id, {"id": "other", "action": "b", "message": "m", "data": {"ok": 1, "no": 2}}
    )
    again = client.post("/v1/events", params=here, json={"id": "before", **typed})
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    record = client.get("/v1/events/after", params=here).json()
    assert record["data"] == {"how": "sso", "agent": "curl"}
    found = {tuple(each["path"]): each for each in record["redactions"]}
    assert found.keys() == {("data", "who", 0), ("data", "who", 1), ("data", "free")}
    assert {each["policy"] for each in found.values()} == {f"policy:{name}"}
    values = [found["data", "who", at].get("replacement") for at in (0, 1)]
    assert values[0] == values[1]
    assert values[0] == {"drop": None, "mask": "***"}.get(method, values[0])
    assert method != "hash" or (
        len(values[0]) == 64 and values[0] != found["data", "free"]["replacement"]
    )
    assert count(client, log_id, q="Ann") == 1  # what came before the policy
    other = client.get("/v1/events/other", params=here).json()
    assert (other["data"], other["message"]) == ({"ok": 1}, "m")
    client.put("/v1/policies/redaction", params=here, json={"rules": []}).raise_for_status()
    write(client, log_id, {"id": "free", **typed})
    assert "redactions" not in client.get("/v1/events/free", params=here).json()


def test_kept_answers_hold_no_content(client: httpx.Client, log_id: str) -> None:
    """A search that is repeated with its Idempotency-Key shows redacted what was redacted."""
    write(client, log_id, event(0))
    client.post(f"/v1/logs/{log_id}/seal").raise_for_status()  # `state` moves no more
    key = {"Idempotency-Key": f"search-{log_id}"}

    def search() -> Json:
        body = {"query": "deleted"}
        made: Json = client.post(
            "/v1/searches", params={"log_id": log_id}, json=body, headers=key
        ).json()
        return made

    first = search()
    assert [each["message"] for each in first["items"]] == [event(0)["message"]]
    assert search() == first
    redact(client, log_id, "e0", "/message")
    again = search()
    assert again["search_id"] == first["search_id"]
    assert all("message" not in each for each in again["items"])


def test_a_tenant_erases_in_its_own_logs_only(
    server: Any,
    client: httpx.Client,
    log_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """Another tenant's log, event, erasure and hold are not there; without the scope it is 403."""
    write(client, log_id, event(0))
    other = make_client(server, make_key(tenant_id=f"t-{log_id}", scopes=["privacy"]))
    assert code(redact(other, log_id, "e0", "/data")) == (404, "log_not_found")
    body = {"subject": SUBJECT, "reason": "r"}
    for path in ("erasures", "legal-holds"):
        answer = other.post(f"/v1/{path}", params={"log_id": log_id}, json=body)
        assert code(answer) == (404, "log_not_found")
    hold = client.post("/v1/legal-holds", params={"log_id": log_id}, json={"reason": "r"}).json()
    assert code(other.delete(f"/v1/legal-holds/{hold['hold_id']}")) == (404, "hold_not_found")
    client.delete(f"/v1/legal-holds/{hold['hold_id']}")
    erased = erase(client, log_id)["operation_id"]
    assert code(other.get(f"/v1/erasures/{erased}")) == (404, "erasure_not_found")
    writer = make_client(server, make_key(scopes=["events:write"]))
    assert code(writer.get(f"/v1/operations/{erased}"))[0] == 403
