"""Whose key this is, what was used, and which schemas there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trailseal import _operations
from trailseal._async.core import AsyncCore
from trailseal._models import Caller, Usage

if TYPE_CHECKING:
    from trailseal._async.schemas import AsyncSchemas


class AsyncAccount(AsyncCore):
    """`whoami`, `usage`, `schemas`."""

    async def whoami(self) -> Caller:
        """Ask whose key this is, for which tenant, with which scopes."""
        return await self._run(_operations.whoami(self._settings))

    async def usage(self) -> Usage:
        """Ask for the plan, and how much of it was used this month."""
        return await self._run(_operations.usage(self._settings))

    @property
    def schemas(self) -> AsyncSchemas:
        """The server's event schemas: `register`, `get`, `list`, `validate`."""
        from trailseal._async.schemas import AsyncSchemas  # noqa: PLC0415  # few need it

        return AsyncSchemas(self)
