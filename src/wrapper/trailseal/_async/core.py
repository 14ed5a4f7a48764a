"""What every room of the client stands on: running a flow, and verification on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from trailseal import _operations, config
from trailseal._context import Fields
from trailseal._events import Prepared
from trailseal._flow import Flow, arun
from trailseal._models import Event, Page, Receipt, VerificationKey
from trailseal._transport import AsyncTransport

if TYPE_CHECKING:
    from trailseal._verifying import Verification
    from trailseal.verify import Verifier

T = TypeVar("T")


class AsyncCore:
    """Settings, bound fields and connections; each room adds its calls."""

    _settings: config.Settings
    _bound: Fields
    _transport: AsyncTransport

    async def _run(self, flow: Flow[T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109  # of the call
        return await arun(flow, self._transport.send, timeout=timeout or self._settings.timeout)

    def _verifies(self, verify: bool | None) -> bool:
        return not self._settings.disabled and (self._settings.verify if verify is None else verify)

    def _verification(self, verify: bool | None) -> Verification | None:
        if not self._verifies(verify):
            return None
        from trailseal._verifying import Verification  # noqa: PLC0415  # it loads cryptography

        return Verification()

    async def _verifier(self, log_id: str | None) -> Verifier:
        from trailseal import _checks  # noqa: PLC0415  # few verify

        trusted, policy = self._settings.trusted_keys, self._settings.signing_keys
        published: list[VerificationKey] = []
        if not trusted and policy is None:  # else the server's word about keys is not asked
            flow = _operations.verification_keys(self._settings, log_id=log_id)
            published = await self._run(flow)
        return _checks.verifier(trusted, published, policy)

    async def _checked_event(self, event: Event) -> Event:
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(event.log_id)
        await self._take(verifier, _verifying.check_event(verifier, event))
        return event

    async def _checked(self, page: Page, verification: Verification | None) -> Page:
        if verification is None or not page.items:
            return page
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(page.items[0].raw.get("log_id"))
        notes = await asyncio.to_thread(_verifying.check_page, verifier, page, verification)
        await self._take(verifier, notes)
        return page

    async def _proved(self, sent: Prepared, receipt: Receipt) -> Receipt:
        from trailseal import _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(receipt.log_id)
        whole = await self._run(_verifying.proved(self._settings, receipt))
        await self._take(verifier, _verifying.check_receipt(verifier, sent, whole))
        return whole

    async def _take(
        self, verifier: Verifier, notes: Iterable[str], *, latest: bool = False
    ) -> None:
        from trailseal import _remember, _verifying  # noqa: PLC0415  # as above

        memory = _remember.Memory(self._settings.state_file or _remember.default_path())
        for note in notes:
            await self._run(_verifying.take(self._settings, verifier, memory, note, latest=latest))
