"""Whose key this is, what was used, and which schemas there are."""

from __future__ import annotations

from trailseal import _operations
from trailseal._async.core import AsyncCore
from trailseal._async.schemas import AsyncSchemas
from trailseal._models import Caller, Usage


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
        return AsyncSchemas(self)
