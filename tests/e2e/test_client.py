"""Both clients against a real server on loopback: log, read, prove, export, verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trailseal import errors
from trailseal_server.app import Running

from .conftest import Side


def deeds(count: int) -> Iterator[dict[str, Any]]:
    for i in range(count):
        yield {
            "id": f"deed-{i}",
            "action": "invoice.deleted" if i % 2 else "invoice.created",
            "actor": {"id": f"user_{i % 3}", "name": "Ada Lovelace"},
            "resource": ("invoice", f"inv_{i}"),
            "outcome": "success",
            "data": {"amount": i, "note": "Grüße", "rate": i / 7},
        }


def trusted(side: Side, log_id: str) -> list[str]:
    """The log's verifier keys, as an auditor would have got them elsewhere."""
    return [
        key.verifier_key for key in side("verification_keys", log_id=log_id) if key.verifier_key
    ]


@pytest.mark.row("P-40", "P-52", "P-53", "P-60", "P-65")
def test_the_whole_path(side: Side, log_id: str, tmp_path: Path) -> None:
    """Log, query, search, prove, export, download, verify; then one changed byte is found."""
    result = side("log_bulk", deeds(1200), log_id=log_id)
    assert (len(result.created), len(result.failed)) == (1200, 0)
    assert [receipt.index for receipt in result.receipts] == list(range(1200))

    pager = side.client.query(action="invoice.deleted", order="asc", limit=250, log_id=log_id)
    found = side.listed(pager)
    assert [event.id for event in found] == [f"deed-{i}" for i in range(1, 1200, 2)]
    assert found[0].actor.name == "Ada Lovelace"
    assert found[0].raw["data"] == {"amount": 1, "note": "Grüße", "rate": 1 / 7}

    search = side("search", 'actor="user_1" inv_4', log_id=log_id, limit=1)
    assert search.count == len(side.listed(search)) >= 1
    assert side("results", search.id, limit=1).items[0].id

    side("seal", log_id)
    auditor = side.make(trusted_keys=trusted(side, log_id))
    event = side("get", "deed-7", log_id=log_id, include_proof=True)
    side("verify", event, client=auditor)
    side("verify", side("root", log_id=log_id), client=auditor)

    operation = side("export", log_id=log_id)
    export = side("wait", operation, timeout=60)
    assert side("poll_result", operation.id).id == export.id
    path = tmp_path / "audit.jsonl"
    download = side("download_results", path, export_id=export.id)
    assert download.export.events == 1200
    side("verify", path, client=auditor)
    side("close", client=auditor)

    path.write_bytes(path.read_bytes().replace(b"deed-700", b"deed-7OO", 1))
    with pytest.raises(errors.IntegrityError):
        side("verify", path)


@pytest.mark.row("P-20", "P-26", "L-03", "L-12")
def test_one_event_with_its_proof(side: Side, log_id: str) -> None:
    """The receipt of a call with include_proof can be verified by itself."""
    receipt = side("log", "user.login", actor="u1", log_id=log_id, include_proof=True)
    assert (receipt.log_id, receipt.index, receipt.replayed) == (log_id, 0, False)
    if receipt.proof is None:  # the server waited 3 s for a checkpoint
        side("seal", log_id)
        receipt = side("get", receipt.event_id, log_id=log_id, include_proof=True)
    side("verify", receipt)
    assert (
        side("get", receipt.raw.get("event_id") or receipt.id, log_id=log_id).action == "user.login"
    )


@pytest.mark.row("C-10")
def test_the_same_event_again_is_a_replay_and_other_content_a_conflict(
    side: Side, log_id: str
) -> None:
    """An id is an event's identity for ever."""
    event = {"id": "e1", "action": "a"}
    first, second = (side("log_event", event, log_id=log_id) for _ in range(2))
    assert (first.replayed, second.replayed) == (False, True)
    assert first.index == second.index
    with pytest.raises(errors.EventConflictError):
        side("log_event", {**event, "action": "b"}, log_id=log_id)
    again = side("log_bulk", [event, {**event, "id": "e2"}], log_id=log_id)
    assert [item.status for item in again] == ["duplicate", "created"]


def test_a_corrupted_event_is_found_by_verification(side: Side, log_id: str) -> None:
    """A record that is not what its log entry commits to raises, whoever changed it."""
    side("log", "a", id="e1", data={"amount": 5}, log_id=log_id)
    side("seal", log_id)
    event = side("get", "e1", log_id=log_id, include_proof=True)
    side("verify", event)
    event.raw["data"]["amount"] = 6
    with pytest.raises(errors.EventCorruptionError):
        side("verify", event)


@pytest.mark.row("P-60", "P-65")
def test_a_log_continues_its_past(side: Side, log_id: str) -> None:
    """Checkpoints of two sizes, and the proofs between them."""
    side("log", "a", id="e1", log_id=log_id)
    old = side("seal", log_id)
    side("log", "b", id="e2", log_id=log_id)
    new = side("seal", log_id)
    assert (old.tree_size, new.tree_size) == (1, 2)
    assert side("root", 1, log_id=log_id).root_hash == old.root_hash
    proof = side("consistency_proof", 1, 2, log_id=log_id)
    keys = trusted(side, log_id)
    from trailseal.verify import Verifier  # noqa: PLC0415  # as an auditor's script would

    Verifier(keys).verify_consistency(old.signed_note, new.signed_note, proof.hashes)
    assert side("inclusion_proof", "e1", log_id=log_id).index == 0
    with pytest.raises(errors.CheckpointNotFoundError):
        side("root", 77, log_id=log_id)


def test_what_the_server_refuses_has_its_class(side: Side, server: Running, log_id: str) -> None:
    """Errors of the real server, with its request id."""
    with pytest.raises(errors.NotFoundError) as caught:
        side("get", "missing", log_id=log_id)
    assert caught.value.request_id
    with pytest.raises(errors.InvalidQueryError):
        side("search", "((", log_id=log_id)
    with pytest.raises(errors.NotFoundError):
        side("poll_result", "op_00000000")


def test_a_wrong_key_is_an_authentication_error(side: Side, server: Running) -> None:
    """A key of the right form that the server does not know."""
    import zlib  # noqa: PLC0415  # only here

    body = f"ts_{'z' * 8}_{'Z' * 32}"
    stranger = type(side.client)(server.url, f"{body}_{zlib.crc32(body.encode()):08x}")
    with pytest.raises(errors.AuthenticationError):
        side("whoami", client=stranger)
    side("close", client=stranger)


@pytest.mark.parametrize("dots", [".", ".."])
def test_dots_are_no_event(side: Side, dots: str) -> None:
    """`/v1/events/.` is not the list of events."""
    with pytest.raises(errors.NotFoundError):
        side("get", dots)


def test_whoami_names_the_key(side: Side) -> None:
    """The key's id is the one that a repr shows."""
    assert f"key_id={side('whoami').key_id!r}" in repr(side.client)


@pytest.mark.row("A-11")
def test_no_server_is_a_connect_error_within_the_deadline(
    side: Side, make_server: Callable[..., Running]
) -> None:
    """Nothing listens there: tried again, then said so."""
    client = side.make(max_retries=1, base_url="http://127.0.0.1:9", timeout=5)
    with pytest.raises(errors.ConnectError, match=r"http://127\.0\.0\.1:9: Connect"):
        side("whoami", client=client)


def test_the_largest_page_is_not_the_end(side: Side, log_id: str) -> None:
    """P2: a full page of 1,000 has a cursor when more follow."""
    side("log_bulk", deeds(1001), log_id=log_id)
    assert len(side.listed(side.client.query(limit=1000, log_id=log_id))) == 1001


def test_pages_are_repeatable_while_others_write(side: Side, log_id: str) -> None:
    """P1: each index below the size of the first page comes exactly once."""
    side("log_bulk", deeds(50), log_id=log_id)
    pager = side.client.query(limit=20, order="asc", log_id=log_id)
    first = side.listed(pager.pages())[0]
    side("log", "late", log_id=log_id)
    rest = side.listed(pager.resume_from(first.next_cursor))
    assert [e.index for e in (*first.items, *rest)] == list(range(50))
