"""Whatever is taken out of a log, what was given out before verifies, as does what comes after."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trailseal
from trailseal.verify import Report, Verifier
from trailseal_server.app import Running

SUBJECT = "user_1"


def exported(client: trailseal.Client, folder: Path, name: str) -> Path:
    operation = client.export()
    client.wait(operation, timeout=60)
    path = folder / f"{name}.jsonl"
    client.download_results(path, export_id=operation.id)
    return path


@pytest.mark.row("P-34")
def test_proofs_signatures_and_exports_verify_before_and_after(
    make_server: Callable[..., Running], tmp_path: Path
) -> None:
    """A redaction, a policy, an erasure and retention in one log: the exports downloaded before
    each and after all of them are complete and without fault, and so are single records."""
    server = make_server()
    auth = {"Authorization": f"Bearer {server.key}"}
    with (
        trailseal.Client(server.url, server.key) as client,
        httpx.Client(base_url=server.url, headers=auth, timeout=40) as raw,
    ):
        event = {
            "action": "a.b",
            "actor": {"id": SUBJECT, "name": "Ann"},
            "data": {"n": [1, 2.5, {"x": None}], "e": {}},
            "message": "text",
        }
        for n in range(4):
            client.log_event({"id": f"e{n}", **event, "subjects": [SUBJECT, f"u{n}"]})
        verifier = Verifier([client.verification_keys()[0].verifier_key or ""])
        paths = [exported(client, tmp_path, "first")]
        early = client.get("e1", include_proof=True)

        body = {"paths": ["/data/n/2", "/actor/name"], "reason": "a ticket"}
        raw.post("/v1/events/e0/redact", json=body).raise_for_status()
        paths.append(exported(client, tmp_path, "redacted"))

        rules = {"rules": [{"schema_id": "*", "method": "hash"}]}
        raw.put("/v1/policies/redaction", json=rules).raise_for_status()
        client.log_event({"id": "e4", **event})
        paths.append(exported(client, tmp_path, "policy"))

        made = raw.post("/v1/erasures", json={"subject": SUBJECT, "reason": "r"}).json()
        place = f"/v1/operations/{made['operation_id']}"
        done = raw.get(place, params={"wait": 30}).json()["erasure"]
        assert (done["events"], done["exports"]) == (4, 2)  # the redaction ended one
        paths.append(exported(client, tmp_path, "erased"))

        reports: list[Report] = [verifier.verify_bundle(path) for path in paths]
        for report in reports:
            assert report.exit_code == 0, report.summary()
            assert report.complete
        assert [report.events for report in reports] == [4, 5, 6, 7]
        client.verify(early)
        for name in ("e0", "e1", "e4"):
            client.verify(client.get(name, include_proof=True))
        assert "Ann" in paths[0].read_text()
        assert paths[3].read_text().count("Ann") == 1  # of the event that names no subject
