"""One client writes, reads, proves and corrects; what it answers, and what it needs."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trailseal
from trailseal import errors
from trailseal.hooks import Hooks
from trailseal.integrations.logging import AuditHandler
from trailseal.testing import AuditLog
from trailseal_api.api.account import get_caller
from trailseal_api.api.logs import create_log
from trailseal_api.models.log_input import LogInput

ROOT = Path(__file__).resolve().parents[2]
BASE = {"attrs", "cryptography", "httpcore", "httpx", "python-dateutil", "rfc8785"}


@pytest.mark.row("L-02")
def test_the_sdk_needs_few_packages() -> None:
    """Six, each for a reason that the architecture gives; all else is an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {each.split(">")[0] for each in project["dependencies"]} == BASE


@pytest.mark.row("P-05")
def test_an_answer_has_its_status_its_headers_and_its_request_id(audit_log: AuditLog) -> None:
    """Typed body and metadata: by hooks, by the generated client, and of errors."""
    seen: list[Any] = []
    with trailseal.Client(hooks=Hooks(on_response=seen.append)) as client:
        assert client.log("a").raw["event_id"]
        whole = get_caller.sync_detailed(client=client.api)
        with pytest.raises(errors.NotFoundError) as error:
            client.get("nothing")
    assert (seen[0].status, seen[0].path, seen[0].error) == (201, "/v1/events", None)
    assert (whole.status_code, type(whole.parsed).__name__) == (200, "Caller")
    assert whole.headers["request-id"]
    assert error.value.response is not None
    assert error.value.response.headers["request-id"] == error.value.request_id


@pytest.mark.row("P-12")
def test_a_log_is_chosen_by_call_and_a_missing_one_is_named(audit_log: AuditLog) -> None:
    """`log_id` takes the place of a configuration; what is in one log is not in another."""
    client = audit_log.client
    for name in ("billing", "access"):
        create_log.sync(client=client.api, body=LogInput(log_id=name))
        client.log(f"{name}.seen", log_id=name)
    assert [event.action for event in client.query(log_id="billing")] == ["billing.seen"]
    with pytest.raises(errors.NotFoundError) as error:
        client.log("x", log_id="nowhere")
    assert error.value.code == "log_not_found"


@pytest.mark.row("P-25", "P-35", "P-61", "P-62")
def test_a_proof_holds_by_the_servers_key_and_by_no_other(audit_log: AuditLog) -> None:
    """Pending, then sealed; the server signs; whoever trusts another key takes no word for it."""
    client = audit_log.client
    first = client.log("a")
    assert client.log("b").state == "pending"
    client.seal("main")
    event = client.get(first.event_id, include_proof=True)
    assert event.state == "sealed"
    assert event.proof is not None
    (key,) = [each.verifier_key for each in client.verification_keys() if each.verifier_key]
    options: dict[str, Any] = {"http_transport": audit_log.transport}
    with trailseal.Client(audit_log.url, audit_log.key, trusted_keys=[key], **options) as auditor:
        auditor.verify(event)
    with AuditLog() as other:
        other.client.log("a")
        keys = [each.verifier_key or "" for each in other.client.verification_keys()]
    doubtful = trailseal.Client(audit_log.url, audit_log.key, trusted_keys=keys, **options)
    with doubtful, pytest.raises(errors.TrailSealError):
        doubtful.verify(event)


@pytest.mark.row("P-71")
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (502, errors.UnavailableError),
        (503, errors.UnavailableError),
        (507, errors.StorageFullError),
    ],
)
def test_an_answer_that_is_no_answer_has_a_class_of_its_own(
    audit_log: AuditLog, status: int, kind: type[errors.ApiError]
) -> None:
    """What to do next differs, so the class does; it says how often it was tried."""
    audit_log.fail_next(status, times=1)
    client = audit_log.client.with_options(max_retries=0)
    with pytest.raises(kind) as error:
        client.usage()
    assert (type(error.value), error.value.status, error.value.attempts) == (kind, status, 1)


@pytest.mark.row("P-36")
def test_a_logger_does_not_wait_for_the_server_and_prints_nothing(
    audit_log: AuditLog, capfd: pytest.CaptureFixture[str]
) -> None:
    """`logger.info` returns while the server refuses; the event arrives all the same."""
    audit_log.fail_next(times=3)
    handler = AuditHandler(audit=audit_log.audit())
    logger = logging.Logger("app", logging.INFO)
    logger.addHandler(handler)
    logger.info("invoice.deleted", extra={"audit": {"actor": "user_1"}})
    assert audit_log.transport.faults, "nobody waited for the retries"
    audit_log.assert_logged("invoice.deleted", actor="user_1")
    assert capfd.readouterr() == ("", "")


@pytest.mark.row("C-14")
def test_a_correction_is_a_new_event_that_names_the_old_one(audit_log: AuditLog) -> None:
    """`amends` carries the id and the reason; the old event and its hash stay as they were."""
    client = audit_log.client
    old = client.log("invoice.paid", data={"amount": 12})
    correction = {"event_id": old.event_id, "reason": "a typing mistake"}
    client.log("invoice.paid", data={"amount": 21}, amends=correction)
    assert audit_log.assert_logged(amends=correction).data == {"amount": 21}
    kept = client.get(old.event_id)
    assert (kept.data, kept.raw["leaf_hash"]) == ({"amount": 12}, old.raw["leaf_hash"])


@pytest.mark.row("C-17")
def test_what_was_written_is_read_back_by_the_same_client(audit_log: AuditLog) -> None:
    """Get, list and search: no other service, no other credentials."""
    client = audit_log.client
    receipt = client.log("door.opened", actor="user_1")
    assert client.get(receipt.event_id).action == "door.opened"
    assert [event.id for event in client.query(actor_id="user_1")] == [receipt.event_id]
    assert [event.id for event in client.search('action="door.opened"')] == [receipt.event_id]
