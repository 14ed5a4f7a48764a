"""What `include=proof` adds to a receipt: enough to prove it, and nothing that was not sent."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from trailseal.verify import Verifier

Json = dict[str, Any]
SENT: Json = {"id": "e1", "action": "invoice.paid", "data": {"amount": 12.5, "iban": "DE02"}}


def log(client: httpx.Client, log_id: str, **changes: Any) -> Json:
    params = {"log_id": log_id, "include": "proof"}
    answer = client.post("/v1/events", params=params, json={**SENT, **changes})
    receipt: Json = answer.raise_for_status().json()
    return receipt


@pytest.fixture
def verifier(client: httpx.Client, log_id: str) -> Verifier:
    keys = client.get("/v1/keys", params={"log_id": log_id}).json()["items"]
    return Verifier([key["verifier_key"] for key in keys if key.get("verifier_key")])


@pytest.mark.row("P-25", "P-27")
def test_a_receipt_proves_the_event_that_was_sent(
    client: httpx.Client, log_id: str, verifier: Verifier
) -> None:
    """Entry, seed and proof come with it, the first time and again."""
    first, again = log(client, log_id), log(client, log_id)
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert (first["entry"], first["seed"]) == (again["entry"], again["seed"])
    for receipt in (first, again):
        verifier.verify_sent(receipt, SENT, SENT)
    plain = client.post("/v1/events", params={"log_id": log_id}, json=SENT).json()
    assert plain.keys().isdisjoint({"entry", "seed", "proof"})


def test_a_receipt_of_what_a_policy_shortens_has_the_salts_of_the_rest(
    client: httpx.Client, log_id: str, verifier: Verifier
) -> None:
    """With the hashes of what was taken out, so that the sender can prove what is left."""
    rules = [{"schema_id": "*", "allowed_properties": ["amount"], "method": "drop"}]
    put = client.put("/v1/policies/redaction", params={"log_id": log_id}, json={"rules": rules})
    put.raise_for_status()
    receipt = log(client, log_id)
    assert "seed" not in receipt
    assert [each["path"] for each in receipt["redactions"]] == [["data", "iban"]]
    left = {**SENT, "data": {"amount": 12.5}}
    line = {**left, **{name: receipt[name] for name in ("salts", "redactions", "entry", "proof")}}
    of_entry = ("log_id", "received_at", "index")
    key = client.get("/v1/me").json()["key_id"]
    verifier.verify_record({**line, **{n: receipt[n] for n in of_entry}, "ingested_by": key})


def test_whoever_may_only_write_learns_nothing_of_a_redacted_event(
    client: httpx.Client,
    log_id: str,
    make_key: Callable[..., str],
    make_client: Callable[..., httpx.Client],
    server: Any,
) -> None:
    """Its id alone answers `replayed`, so its salts and what replaced its fields stay away."""
    log(client, log_id)
    body = {"paths": ["/data/iban"], "reason": "ticket 7"}
    done = client.post("/v1/events/e1/redact", params={"log_id": log_id}, json=body)
    done.raise_for_status()
    writer = make_client(server, make_key(scopes=["events:write"]))
    receipt = log(writer, log_id, data="a guess")
    assert receipt["replayed"] is True
    assert receipt["proof"]["index"] == receipt["index"] == 0
    assert receipt.keys().isdisjoint({"seed", "salts", "redactions"})
