"""Rotating API keys, and why a repeated creation is no repetition."""

from collections.abc import Callable
from typing import Any

import httpx


def test_a_rotated_key_has_the_same_rights_and_the_old_one_ends(
    server: Any,
    client: httpx.Client,
    log_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """At once without a grace; with one, both work."""
    given = {"scopes": ["events:write"], "tenant_id": log_id, "default_log_id": log_id}
    old = make_client(server, make_key(expires_at="2999-01-01T00:00:00Z", **given))
    before = old.get("/v1/me").json()
    path = f"/v1/api-keys/{before['key_id']}/rotate"
    made = client.post(path, json={"grace_seconds": 3600}).json()
    new = make_client(server, made["secret"])
    after = new.get("/v1/me").json()
    same = ("name", "scopes", "tenant_id", "default_log_id")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert after["expires_at"] >= before["expires_at"]
    assert old.get("/v1/me").json()["expires_at"] < before["expires_at"]
    assert client.post(path, json={}).status_code == 201
    assert old.get("/v1/me").json()["code"] == "key_expired"
    ended = client.post(path, json={})
    assert (ended.status_code, ended.json()["code"]) == (404, "key_not_found")


def test_another_tenants_key_cannot_be_rotated(
    server: Any,
    log_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """It is not there."""
    ours, theirs = (make_client(server, make_key(tenant_id=f"{log_id}-{each}")) for each in "ab")
    key_id = ours.get("/v1/me").json()["key_id"]
    answer = theirs.post(f"/v1/api-keys/{key_id}/rotate", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")


def test_keys_cannot_be_made_with_an_idempotency_key(client: httpx.Client) -> None:
    """The answer would have to be kept, and with it the secret."""
    key_id = client.get("/v1/me").json()["key_id"]
    for path, body in (
        ("/v1/api-keys", {"name": "n", "scopes": ["admin"]}),
        (f"/v1/api-keys/{key_id}/rotate", {}),
    ):
        answer = client.post(path, json=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
        assert answer.json()["errors"][0]["pointer"] == "/header/Idempotency-Key"
