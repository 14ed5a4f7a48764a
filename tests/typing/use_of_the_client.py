"""How users' code looks to a type checker; checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

import trailseal
from trailseal import AsyncClient, AsyncPager, Client, Event, Pager, Receipt


def blocking() -> None:
    """Names that load lazily are typed all the same."""
    with trailseal.Client.from_env() as client:
        assert_type(client, Client)
        receipt = client.log(
            "invoice.deleted",
            actor=trailseal.Actor("user_1"),
            resource=("invoice", "inv_1", "Invoice #1"),
            occurred_at=datetime.now(UTC),
            data={"amount": 5},
        )
        assert_type(receipt, Receipt)
        assert_type(receipt.index, int)
        assert_type(receipt.received_at, datetime | None)
        with trailseal.context(actor="user_1", context={"request_id": "r"}):
            assert_type(client.bind(tenant_id="t"), Client)
        assert_type([item.status for item in client.log_bulk_iter([])], list[str])
        assert_type(client.download_file("http://x", "y").sha256, str)
        assert_type(client.schemas.get("s").version, str)
        trailseal.context(actr="u")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a typo is found
        pager = client.query(actor_id="user_1", start="-7d", tag=["a:b"])
        assert_type(pager, Pager)
        for event in pager:
            assert_type(event, Event)
            assert_type(event.message, str | None)
        client.log("a", actr="u")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a typo is found
        client.query(actor="u")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a typo is found
        error: trailseal.TrailSealError = trailseal.errors.NotFoundError("x")
        assert_type(error.status, int | None)


async def awaiting() -> None:
    """The same names, awaited."""
    async with AsyncClient("http://x", "key") as client:
        assert_type(await client.log("a"), Receipt)
        pager = client.query()
        assert_type(pager, AsyncPager)
        async for event in pager:
            assert_type(event, Event)
        assert_type([item.status async for item in client.log_bulk_iter([])], list[str])
        assert_type((await client.schemas.list())[0].version, str)
        assert_type((await client.search("a")).count, int)
