"""`client.schemas`: register, fetch and check event schemas."""

from __future__ import annotations

from trailseal import _schemas
from trailseal._async.core import AsyncCore
from trailseal._models import Schema
from trailseal._schemas import SchemaLike
from trailseal.errors import ErrorDetail


class AsyncSchemas:
    """The event schemas of the server; each id and version is one object, for ever."""

    def __init__(self, core: AsyncCore) -> None:
        self._settings, self._run = core._settings, core._run  # noqa: SLF001  # its own part

    async def register(
        self,
        schema: SchemaLike,
        *,
        schema_id: str | None = None,
        version: str | None = None,
        compatibility: str | None = None,
    ) -> Schema:
        """Register a version of a JSON Schema (draft 7 or 2020-12); the same one again is fine.

        `schema` is a mapping, the text of JSON or YAML, or a path to such a file. Its `$id` and
        `version` count unless `schema_id` and `version` are given. `compatibility` with the last
        version is `backward` (its events must be valid in this one) or `none`.

        Raises:
            SchemaInvalidError: It is no valid schema; `.errors` name each fault.
            SchemaConflictError: This version has other content, or breaks its predecessor.
        """
        given = {"schema_id": schema_id, "version": version, "compatibility": compatibility}
        return await self._run(_schemas.register(self._settings, schema, given))

    async def get(self, schema_id: str, version: str | None = None) -> Schema:
        """Fetch a version, or the latest one; raises `SchemaNotRegisteredError`."""
        return await self._run(_schemas.get(self._settings, schema_id, version))

    async def list(
        self, schema_id: str | None = None, *, latest: bool = False
    ) -> tuple[Schema, ...]:
        """Fetch all versions, or those of one schema, or with `latest` the last of each."""
        return await self._run(_schemas.listed(self._settings, schema_id=schema_id, latest=latest))

    async def validate(self, schema: SchemaLike) -> tuple[ErrorDetail, ...]:
        """Say what is wrong with a schema, without registering it; empty if nothing is."""
        return await self._run(_schemas.validate(self._settings, schema))
