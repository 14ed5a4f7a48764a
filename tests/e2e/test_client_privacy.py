"""Redaction, erasure, holds, policies and imports by both clients, on a real server."""

import asyncio
import itertools

import pytest
import trailseal
from trailseal.errors import ConfigurationError, EventConflictError
from trailseal_api.api.logs import create_log
from trailseal_api.models import LogInput
from trailseal_server.app import Running

EVENT = {
    "action": "a.b",
    "actor": {"id": "u1", "name": "Ann"},
    "data": {"k": 1},
    "subjects": ["u1"],
}
_numbers = itertools.count(1)


@pytest.fixture
def here(server: Running) -> str:
    """A log of its own."""
    name = f"privacy-{next(_numbers)}"
    with trailseal.Client(server.url, server.key) as client:
        create_log.sync(client=client.api, body=LogInput(log_id=name))
    return name


def test_the_client_redacts_holds_and_erases(server: Running, here: str) -> None:
    """Each answer is a view of what the server did; a hold is an error of its own kind."""
    with trailseal.Client(server.url, server.key) as client:
        client.log_bulk([{"id": "e1", **EVENT}, {"id": "e2", **EVENT}], log_id=here)
        redacted = client.redact("e1", ["/actor/name"], "a ticket", log_id=here)
        assert redacted.raw["redactions"][0]["path"] == ["actor", "name"]
        with pytest.raises(ConfigurationError):
            client.redact("e1", "/actor/name", "a ticket", log_id=here)
        hold = client.legal_holds.place("case 7", subject="u1", log_id=here)
        with pytest.raises(EventConflictError, match="legal hold"):
            client.erase("u1", "request", log_id=here)
        released = client.legal_holds.release(hold.id)
        assert [each.id for each in client.legal_holds.list(log_id=here)] == [hold.id]
        assert released.released_at is not None
        done = client.wait(client.erase("u1", "request", log_id=here), timeout=30)
        assert isinstance(done, trailseal.Operation)
        assert done.erasure is not None
        assert (done.erasure.events, done.erasure.state) == (2, "succeeded")
        (listed,) = client.erasures(log_id=here)
        assert (listed.id, listed.subject) == (done.id, None)


def test_the_asynchronous_client_does_the_same(server: Running, here: str) -> None:
    """Policies and imported events too."""

    async def run() -> None:
        async with trailseal.AsyncClient(server.url, server.key) as client:
            rules = [{"schema_id": "*", "method": "mask"}]
            put = await client.redaction_policies.set(rules, log_id=here)
            assert (await client.redaction_policies.get(log_id=here)).rules == put.rules == rules
            made = await client.log_bulk([{"id": "e", **EVENT}], log_id=here, imported=True)
            assert made.counts["created"] == 1
            await client.seal(here)
            found = await client.get("e", log_id=here, include_proof=True)
            assert found.raw["imported"] is True
            assert found.raw["redactions"][0]["replacement"] == "***"
            await client.verify(found)
            await client.redact("e", ["/actor"], "a ticket", log_id=here)
            hold = await client.legal_holds.place("case", log_id=here)
            assert (await client.legal_holds.release(hold.id)).released_at
            done = await client.wait(await client.erase("u1", "r", log_id=here), timeout=30)
            assert isinstance(done, trailseal.Operation)
            assert len(await client.erasures(log_id=here)) == 1
            await client.verify(await client.get("e", log_id=here, include_proof=True))

    asyncio.run(run())
