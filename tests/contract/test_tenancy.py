"""Channels, tenants, quotas and usage."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
Client = httpx.Client


@pytest.fixture
def tenant(
    server: Any, make_client: Callable[..., Client], make_key: Callable[..., str], log_id: str
) -> Callable[[str], Client]:
    """A client of a tenant of this test's own: `tenant("a")`."""

    def make(name: str) -> Client:
        return make_client(server, make_key(tenant_id=f"{name}-{log_id}"))

    return make


def _channel(client: Client, **policy: Any) -> str:
    answer = client.post("/v1/channels", json={"name": "shop", **policy})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["channel_key"]
    return key


def _write(client: Client, channel: str, *events: Json, **body: Any) -> httpx.Response:
    batch = {"events": list(events) or [{"action": "x"}], "channel": channel, **body}
    return client.post("/v1/events/batch", json=batch)


def _code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_life_of_a_channel(client: Client, log_id: str) -> None:
    """Made, read, listed, replaced (what is left out is reset), deleted."""
    policy = {"name": "a", "log_id": log_id, "allowed_sources": ["shop"], "external_id": "acme-1"}
    made = client.post("/v1/channels", json=policy).json()
    assert policy.items() <= made.items()
    path = f"/v1/channels/{made['channel_key']}"
    assert client.get(path).json() == made
    first = client.get("/v1/channels", params={"limit": 1}).json()
    assert first["items"] == [made]
    replaced = client.put(path, json={"name": "b"}).json()
    assert replaced == {k: made[k] for k in ("channel_key", "created_at")} | {"name": "b"}
    assert client.delete(path).status_code == 204
    assert _code(client.get(path)) == (404, "channel_not_found")
    assert _code(_write(client, made["channel_key"])) == (404, "channel_not_found")


@pytest.mark.row("C-11")
def test_a_channel_is_named_by_its_key_or_its_urn(client: Client, log_id: str) -> None:
    """Both write, and the record names the channel; anything else is channel_invalid."""
    channel = _channel(client, log_id=log_id)
    for name in (channel, f"urn:trailseal:channel:{channel}"):
        item = _write(client, name).json()["results"][0]
        event_id = item["receipt"]["event_id"]
        record = client.get(f"/v1/events/{event_id}", params={"log_id": log_id}).json()
        assert record["channel_id"] == channel
    for name in ("arn:aws:cloudtrail:eu-1:1:channel/x", "chn_", f"{channel}\n"):
        assert _code(_write(client, name)) == (400, "channel_invalid")


@pytest.mark.row("C-12")
def test_an_external_id_is_needed_only_where_the_channel_sets_one(
    client: Client, log_id: str
) -> None:
    """Missing and wrong ones are 403 with different codes; a needless one is no mistake."""
    guarded = _channel(client, log_id=log_id, external_id="acme-4711")
    assert _code(_write(client, guarded)) == (403, "external_id_required")
    wrong = _write(client, guarded, external_id="acme-4712")
    assert _code(wrong) == (403, "external_id_mismatch")
    assert "acme-4711" not in wrong.text
    assert _write(client, guarded, external_id="acme-4711").json()["created"] == 1
    assert _write(client, _channel(client, log_id=log_id), external_id="any").status_code == 200


@pytest.mark.row("C-09")
def test_a_channel_takes_only_its_sources_and_schemas(client: Client, log_id: str) -> None:
    """Each event that breaks the policy fails by itself; a vendor counts as a source."""
    shop = _channel(client, log_id=log_id, allowed_sources=["shop", "auth0"])
    good: Json = {"action": "x", "source": {"name": "shop"}}
    items = _write(client, shop, good, {"action": "x"}, {**good, "source": {"name": "x"}}).json()
    codes = [each.get("error", {}).get("code") for each in items["results"]]
    assert codes == [None, "source_not_allowed", "source_not_allowed"]
    for vendor, created in (("auth0", 1), ("github", 0)):
        params = {"channel": shop}
        result = client.post(
            f"/v1/ingest/{vendor}", json={"type": "s", "action": "x"}, params=params
        )
        assert result.json()["created"] == created
    typed = _channel(client, log_id=log_id, allowed_schemas=["invoice"])
    assert _write(client, typed).json()["results"][0]["error"]["code"] == "schema_unsupported"
    refused = _write(client, typed, atomic=True)
    assert _code(refused) == (422, "schema_unsupported")


@pytest.mark.row("C-09")
def test_a_channel_is_its_tenants_own(
    client: Client, tenant: Callable[[str], Client], log_id: str
) -> None:
    """Another tenant finds it nowhere; whoever else uses it writes to its tenant's log only."""
    mine, other = tenant("mine"), tenant("other")
    channel = _channel(mine)
    path = f"/v1/channels/{channel}"
    for answer in (other.get(path), other.delete(path), _write(other, channel)):
        assert _code(answer) == (404, "channel_not_found")
    assert channel not in other.get("/v1/channels").text
    stored = _write(client, channel).json()["results"][0]["receipt"]
    assert mine.get(f"/v1/events/{stored['event_id']}").status_code == 200
    stray = _write(client, channel, {"action": "x", "tenant_id": f"other-{log_id}"}).json()
    assert stray["results"][0]["error"]["code"] == "tenant_mismatch"
    shared = _channel(client)
    assert _write(other, shared).json()["created"] == 1
    assert _code(other.put(f"/v1/channels/{shared}", json={"name": "x"}))[0] == 404
    bound = _channel(client, log_id=log_id)
    body = {"events": [{"action": "x"}], "channel": bound}
    elsewhere = client.post("/v1/events/batch", params={"log_id": "main"}, json=body)
    assert _code(elsewhere) == (403, "channel_permission")
    assert _code(mine.post("/v1/channels", json={"name": "x", "log_id": log_id}))[0] == 404


def test_a_batch_for_later_keeps_the_channel_it_was_granted(client: Client, log_id: str) -> None:
    """The operation writes through the channel, although it is gone by then."""
    channel = _channel(client, log_id=log_id, allowed_sources=["shop"])
    body = {"events": [{"action": "x"}], "channel": channel}
    accepted = client.post("/v1/events/batch/async", json=body)
    client.delete(f"/v1/channels/{channel}")
    ended = client.get(accepted.headers["location"], params={"wait": 30}).json()
    assert ended["batch"]["results"][0]["error"]["code"] == "source_not_allowed"


def test_the_life_of_a_tenant(client: Client, log_id: str) -> None:
    """Made once, found by its id, replaced; its default log shows with its first event."""
    given = {"tenant_id": f"Ünïque {log_id}", "name": "Acme", "retention_days": 400}
    made = client.post("/v1/tenants", json=given)
    again = client.post("/v1/tenants", json=given)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    assert given.items() <= made.json().items()
    other = client.post("/v1/tenants", json={**given, "name": "B"})
    assert _code(other) == (409, "idempotency_conflict")
    client.post("/v1/events", json={"action": "x", "tenant_id": given["tenant_id"]})
    path = f"/v1/tenants/{made.json()['tenant_key']}"
    found = client.get(path).json()
    assert found["default_log_id"].startswith("log_")
    listed = client.get("/v1/tenants", params={"tenant_id": given["tenant_id"]}).json()["items"]
    assert listed == [found]
    replaced = client.put(path, json={"tenant_id": given["tenant_id"], "events_limit": 5}).json()
    assert (replaced["events_limit"], "name" in replaced) == (5, False)
    renamed = client.put(path, json={"tenant_id": "other"})
    assert _code(renamed) == (400, "request_invalid")
    assert _code(client.get("/v1/tenants/ten_00000000")) == (404, "tenant_not_found")


def test_a_tenant_reads_its_own_settings_and_sets_none(
    client: Client, tenant: Callable[[str], Client], log_id: str
) -> None:
    """A quota is not for those who are under it."""
    mine, other = tenant("mine"), tenant("other")
    settings = {"tenant_id": f"mine-{log_id}", "events_limit": 1}
    path = f"/v1/tenants/{client.post('/v1/tenants', json=settings).json()['tenant_key']}"
    assert mine.get(path).json()["events_limit"] == 1
    assert [each["tenant_id"] for each in mine.get("/v1/tenants").json()["items"]] == [
        f"mine-{log_id}"
    ]
    assert _code(mine.put(path, json=settings)) == (403, "permission_denied")
    assert _code(mine.post("/v1/tenants", json=settings)) == (403, "permission_denied")
    assert _code(other.get(path)) == (404, "tenant_not_found")
    assert other.get("/v1/tenants").json()["items"] == []


def test_a_quota_stops_every_write_of_its_tenant(
    client: Client, tenant: Callable[[str], Client], log_id: str
) -> None:
    """402 for one event and for a batch; a raised quota counts at once; others are not touched."""
    mine = tenant("mine")
    settings = {"tenant_id": f"mine-{log_id}", "events_limit": 2}
    path = f"/v1/tenants/{client.post('/v1/tenants', json=settings).json()['tenant_key']}"
    for _ in range(2):
        assert mine.post("/v1/events", json={"action": "x"}).status_code == 201
    assert _code(mine.post("/v1/events", json={"action": "x"})) == (402, "quota_exceeded")
    batch = {"events": [{"action": "x"}, {"action": "y"}]}
    assert _code(mine.post("/v1/events/batch", json=batch)) == (402, "quota_exceeded")
    assert _code(mine.post("/v1/ingest/generic", json=batch)) == (402, "quota_exceeded")
    mixed = [{"action": "x", "tenant_id": f"{who}-{log_id}"} for who in ("mine", "other")]
    result = client.post("/v1/events/batch", json={"events": mixed}).json()
    assert [each["status"] for each in result["results"]] == ["failed", "created"]
    client.put(path, json={**settings, "events_limit": 4})
    assert mine.post("/v1/events/batch", json=batch).json()["created"] == 2
    assert _code(mine.post("/v1/events", json={"action": "x"})) == (402, "quota_exceeded")


@pytest.mark.row("L-15")
def test_usage_counts_what_was_stored_this_month(
    client: Client, tenant: Callable[[str], Client], log_id: str
) -> None:
    """Of the tenant's logs alone; duplicates and refused events do not count."""
    mine, other = tenant("mine"), tenant("other")
    none = mine.get("/v1/usage").json()
    assert (none["plan"], none["events_this_month"], none["bytes"]) == ("self-hosted", 0, 0)
    assert (none["events_limit"], none["retention_days"]) == (None, None)
    client.post(
        "/v1/tenants",
        json={"tenant_id": f"mine-{log_id}", "events_limit": 100, "retention_days": 30},
    )
    events = [{"id": "a", "action": "x"}, {"id": "b", "action": "x"}, {"action": ""}]
    for _ in range(2):
        mine.post("/v1/events/batch", json={"events": events})
    other.post("/v1/events", json={"action": "x"})
    used = mine.get("/v1/usage").json()
    assert (used["events_this_month"], used["events_limit"]) == (2, 100)
    assert used["retention_days"] == 30
    assert used["bytes"] == 2 * len('{"action":"x","id":"a"}')
    assert client.get("/v1/usage").json()["events_this_month"] >= 3
