"""Clients' keys and signatures over HTTP."""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trailseal.verify import commitments

Json = dict[str, Any]
SEED = "A" * 43


class Signer:
    """A client that signs with the wrapper's own code."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, event_id: str, key_id: str, *, enclose: bool = False) -> Json:
        """A signed event."""
        event = {"id": event_id, "action": "x", "data": {"n": 1.5}}
        committed = commitments.fields_hash(event, SEED)
        value = self._key.sign(f"trailseal/event/v1\n{event_id}\n{committed.hex()}\n".encode())
        signature = {
            "algorithm": "ed25519",
            "key_id": key_id,
            "value": b64encode(value).decode(),
            **({"public_key": self.public} if enclose else {}),
        }
        return {**event, "seed": SEED, "signature": signature}


def _register(client: httpx.Client, log_id: str, signer: Signer, **more: Any) -> httpx.Response:
    body = {"key_id": "billing", "algorithm": "ed25519", "public_key": signer.public, **more}
    return client.post("/v1/keys", params={"log_id": log_id}, json=body)


def _send(client: httpx.Client, log_id: str, event: Json) -> str:
    answer = client.post("/v1/events", params={"log_id": log_id}, json=event)
    return str(answer.json().get("code", answer.status_code))


def test_a_key_is_registered_listed_and_revoked(client: httpx.Client, log_id: str) -> None:
    """201, 200 for the same key, 400 for another one under its id; revoked at once."""
    signer = Signer()
    first = _register(client, log_id, signer, owner="billing team")
    again = _register(client, log_id, signer)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = _register(client, log_id, Signer())
    assert (other.status_code, other.json()["code"]) == (400, "request_invalid")
    params = {"log_id": log_id}
    listed = client.get("/v1/keys", params=params).json()["items"]
    assert [each["kind"] for each in listed] == ["client", "checkpoint"]
    assert listed[0] == first.json()
    taken = _register(client, log_id, signer, key_id=listed[1]["key_id"])
    assert taken.status_code == 400
    assert _send(client, log_id, signer.sign("e1", "billing")) == "201"
    revoked = client.delete("/v1/keys/billing", params=params).json()
    assert revoked["revoked_at"]
    assert client.delete("/v1/keys/billing", params=params).json() == revoked
    assert _send(client, log_id, signer.sign("e2", "billing")) == "signature_invalid"
    # What is stored already may be repeated, and its signature still counts.
    assert _send(client, log_id, signer.sign("e1", "billing")) == "200"
    assert _send(client, log_id, Signer().sign("e1", "billing")) == "signature_invalid"
    gone = client.delete(f"/v1/keys/{listed[1]['key_id']}", params=params)
    assert (gone.status_code, gone.json()["code"]) == (404, "key_not_found")


@pytest.mark.row("P-32", "P-33")
def test_signatures_are_checked_where_events_come_in(client: httpx.Client, log_id: str) -> None:
    """By the registered key, else the enclosed one; in batches and dry runs too."""
    signer, stranger = Signer(), Signer()
    _register(client, log_id, signer)
    assert _send(client, log_id, signer.sign("e1", "billing")) == "201"
    assert _send(client, log_id, stranger.sign("e2", "own", enclose=True)) == "201"
    bad = [
        stranger.sign("e3", "billing"),
        stranger.sign("e4", "billing", enclose=True),
        stranger.sign("e5", "own"),
        {**signer.sign("e6", "billing"), "action": "y"},
    ]
    assert {_send(client, log_id, each) for each in bad} == {"signature_invalid"}
    params, body = {"log_id": log_id}, {"events": [*bad, signer.sign("e7", "billing")]}
    batch = client.post("/v1/events/batch", params=params, json=body).json()
    assert [each["status"] for each in batch["results"]] == ["failed"] * 4 + ["created"]
    dry = client.post("/v1/events/validate", params=params, json=body).json()
    assert [each["code"] for each in dry["errors"]] == ["signature_invalid"] * 4


def test_a_key_out_of_its_time_is_refused(client: httpx.Client, log_id: str) -> None:
    """Expired and not yet valid keys, and a span that ends before it begins."""
    past, future = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    ended, early, signer = Signer(), Signer(), Signer()
    _register(client, log_id, ended, key_id="ended", valid_from=past, valid_to=past)
    _register(client, log_id, early, key_id="early", valid_from=future)
    assert _send(client, log_id, ended.sign("e1", "ended", enclose=True)) == "signature_invalid"
    assert _send(client, log_id, early.sign("e2", "early")) == "signature_invalid"
    turned = _register(client, log_id, signer, valid_from=future, valid_to=past)
    assert (turned.status_code, turned.json()["errors"][0]["pointer"]) == (400, "/valid_to")


def test_keys_are_listed_in_pages(client: httpx.Client, log_id: str) -> None:
    """Every key once, in either order, although one is added meanwhile."""
    for number in range(4):
        _register(client, log_id, Signer(), key_id=f"k{number}")
    for order in ("asc", "desc"):
        params: Json = {"log_id": log_id, "limit": 2, "order": order}
        seen, more = [], True
        while more:
            page = client.get("/v1/keys", params=params).json()
            seen += [each["key_id"] for each in page["items"]]
            params["cursor"], more = page["next_cursor"], page["has_more"]
            _register(client, log_id, Signer(), key_id=f"late-{order}-{len(seen)}")
        wanted = [f"k{number}" for number in range(4)]
        assert [each for each in seen if each in wanted] == sorted(wanted, reverse=order == "desc")
        assert len(seen) == len(set(seen))


def test_a_tenants_key_is_its_own(
    server: Any,
    log_id: str,
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
) -> None:
    """Its default log is made with its first key; another tenant cannot reach it."""
    ours, theirs = (make_client(server, make_key(tenant_id=f"{log_id}-{each}")) for each in "ab")
    signer = Signer()
    body = {"key_id": "k", "algorithm": "ed25519", "public_key": signer.public}
    assert ours.post("/v1/keys", json=body).status_code == 201
    mine = f"{log_id}-a"
    assert ours.post("/v1/events", json=signer.sign("e1", "k")).json()["log_id"] == mine
    assert theirs.delete("/v1/keys/k", params={"log_id": mine}).json()["code"] == "log_not_found"
    assert _register(theirs, mine, signer).json()["code"] == "log_not_found"
    assert theirs.get("/v1/keys", params={"log_id": mine}).json()["code"] == "log_not_found"
    refused = theirs.post("/v1/events", json=signer.sign("e1", "k"))
    assert refused.json()["code"] == "signature_invalid"


@pytest.mark.row("C-05")
def test_a_checksum_is_that_of_the_events_canonical_json(client: httpx.Client, log_id: str) -> None:
    """SHA-256 of the JCS without seed, signature and checksum; a mismatch fails that event only."""
    event = {"id": "e1", "data": {"b": 1, "a": "ä"}, "action": "x"}
    text = '{"action":"x","data":{"a":"ä","b":1},"id":"e1"}'
    right = b64encode(sha256(text.encode()).digest()).decode()
    wrong = b64encode(bytes(32)).decode()
    events = [
        {**event, "checksum": right, "seed": SEED},
        {**event, "id": "e2", "checksum": right},
        {**event, "id": "e3", "checksum": wrong},
        {**event, "id": "e4"},
    ]
    answer = client.post("/v1/events/batch", params={"log_id": log_id}, json={"events": events})
    results = answer.json()["results"]
    assert [each["status"] for each in results] == ["created", "failed", "failed", "created"]
    assert {each["error"]["code"] for each in results[1:3]} == {"checksum_mismatch"}
