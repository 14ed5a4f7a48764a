"""Events of another system's archive are marked in record and entry, whichever way they come."""

import json
from hashlib import sha256

import httpx
import pytest


@pytest.mark.row("P-49")
def test_every_way_for_many_events_can_mark_them_as_imported(
    client: httpx.Client, log_id: str
) -> None:
    """At once, later, as a vendor's payload and as a file; without the mark they are not."""
    here = {"log_id": log_id, "imported": "true"}
    batch = {"events": [{"id": "batch-1", "action": "a"}]}
    client.post("/v1/events/batch", params=here, json=batch).raise_for_status()
    client.post("/v1/events/batch", params={"log_id": log_id}, json={"events": [{"action": "b"}]})
    batch = {"events": [{"id": "later", "action": "a"}]}
    made = client.post("/v1/events/batch/async", params=here, json=batch).json()
    operations = [made["operation_id"]]
    client.post("/v1/ingest/generic", params=here, json={"action": "a"}).raise_for_status()
    upload = client.post("/v1/uploads", params=here, json={}).json()
    content = b'{"id":"file","action":"a"}\n'
    headers = {"Content-Type": "application/octet-stream"}
    client.put(upload["content_url"], content=content, headers=headers).raise_for_status()
    place = f"/v1/uploads/{upload['upload_id']}/complete"
    done = client.post(place, json={"sha256": sha256(content).hexdigest()}).json()
    operations.append(done["operation_id"])
    for each in operations:
        found = client.get(f"/v1/operations/{each}", params={"wait": 20}).json()
        assert found["batch"]["created"] == 1, found
    client.post(f"/v1/logs/{log_id}/seal")
    items = client.get("/v1/events", params={"log_id": log_id, "include": "proof"}).json()["items"]
    assert sorted(each["imported"] for each in items) == [False, True, True, True, True]
    for each in items:
        assert json.loads(each["entry"]).get("imported", False) == each["imported"]
        assert each["imported"] == (each["action"] != "b")
