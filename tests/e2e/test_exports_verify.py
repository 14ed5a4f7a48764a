"""What the server exports is what the verifier accepts: two programs that share no code."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trailseal
from trailseal.verify import EventCorruptionError, Report, Verifier
from trailseal_api.api.logs import create_log
from trailseal_api.models import LogInput
from trailseal_server.app import Running

EVENTS = 700  # more than two tiles of 256
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[trailseal.Client]:
    with trailseal.Client(server.url, server.key) as made:
        yield made


@pytest.fixture(scope="module")
def log_id(client: trailseal.Client) -> str:
    """A log of its own with events of four actors and three actions."""
    name = f"verify-{next(_numbers)}"
    make_log(client, name)
    events = [
        {
            "action": f"invoice.{('created', 'read', 'deleted')[n % 3]}",
            "actor": {"id": f"user_{n % 4}"},
            "resources": [{"id": f"inv_{n}", "type": "invoice"}],
            "data": {"n": n, "ratio": n / 7, "name": "Zoë 😀", "none": None, "empty": [[], {}]},
        }
        for n in range(EVENTS)
    ]
    client.log_bulk(events, log_id=name).raise_for_failures()
    return name


def make_log(client: trailseal.Client, name: str) -> None:
    create_log.sync(client=client.api, body=LogInput(log_id=name))


def exported(client: trailseal.Client, log_id: str, folder: Path, **given: Any) -> Report:
    """Export, wait, download, verify with the log's key and nothing else."""
    operation = client.export(log_id=None if "search_id" in given else log_id, **given)
    client.wait(operation, timeout=60)
    suffix = ".gz" if given.get("compression") == "gzip" else ""
    path = folder / f"export.jsonl{suffix}"
    client.download_results(path, export_id=operation.id)
    key = client.verification_keys(log_id=log_id)[0].verifier_key
    assert key is not None
    return Verifier([key]).verify_bundle(path)


@pytest.mark.row("P-52", "P-53", "P-68")
@pytest.mark.parametrize(
    ("given", "count", "complete"),
    [
        pytest.param({}, EVENTS, True, id="whole"),
        pytest.param({"compression": "gzip"}, EVENTS, True, id="gzip"),
        pytest.param({"order": "desc"}, EVENTS, False, id="descending"),
        pytest.param({"last": "1h"}, EVENTS, True, id="a time range"),
        pytest.param({"end": "2020-01-01T00:00:00Z"}, 0, True, id="a time range before all"),
        pytest.param({"actor_id": "user_1"}, EVENTS // 4, False, id="filtered"),
        pytest.param({"query": "action:deleted"}, 233, False, id="a query"),
        pytest.param({"actor_id": "nobody"}, 0, False, id="nothing matches"),
        pytest.param({"last": "1h", "action_prefix": "invoice."}, EVENTS, False, id="both"),
    ],
)
def test_every_kind_of_export_verifies(
    client: trailseal.Client,
    log_id: str,
    tmp_path: Path,
    given: dict[str, Any],
    count: int,
    complete: bool,
) -> None:
    """Each line is proved, and completeness is claimed exactly where it is proved."""
    report = exported(client, log_id, tmp_path, **given)
    assert report.exit_code == 0, report.summary()
    assert (report.events, report.complete) == (count, complete), report.summary()


def test_a_capped_search_verifies_line_by_line(
    client: trailseal.Client, log_id: str, tmp_path: Path
) -> None:
    """An export of the first results of a search is no complete range, and says so."""
    search = client.search("", max_results=10, log_id=log_id)
    report = exported(client, log_id, tmp_path, search_id=search.id)
    assert report.exit_code == 0, report.summary()
    assert (report.events, report.complete) == (10, False)


def test_an_empty_log_can_be_exported_and_verified(
    client: trailseal.Client, tmp_path: Path
) -> None:
    """Nothing is a complete answer too."""
    make_log(client, "verify-empty")
    report = exported(client, "verify-empty", tmp_path)
    assert report.exit_code == 0, report.summary()
    assert (report.events, report.complete) == (0, True)


def test_records_and_receipts_verify_one_by_one(client: trailseal.Client, log_id: str) -> None:
    """What is read with proofs can be checked without an export."""
    receipt = client.log("proof.asked", actor="user_9", log_id=log_id, include_proof=True)
    assert receipt.proof is not None
    client.verify(receipt)
    record = client.get(receipt.event_id, log_id=log_id, include_proof=True)
    client.verify(record)
    changed = json.loads(json.dumps(record.raw))
    changed["actor"]["id"] = "user_8"
    with pytest.raises(EventCorruptionError):
        client.verify(trailseal.Event(changed))


def test_later_checkpoints_continue_earlier_ones(client: trailseal.Client, log_id: str) -> None:
    """The consistency proof that the server gives convinces the verifier."""
    old = client.seal(log_id)
    client.log("one.more", log_id=log_id)
    new = client.seal(log_id)
    proof = client.consistency_proof(old.tree_size, new.tree_size, log_id=log_id)
    key = client.verification_keys(log_id=log_id)[0].verifier_key
    assert key is not None
    Verifier([key]).verify_consistency(old.signed_note, new.signed_note, proof.hashes)
