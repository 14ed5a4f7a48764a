"""Exports, the operations that make them, and downloads."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, BinaryIO, Unpack

from trailseal import _downloads, _exports, _filters, _targets, config
from trailseal._async.core import AsyncCore
from trailseal._filters import Filters
from trailseal._models import Export, Operation
from trailseal._results import BatchResult

if TYPE_CHECKING:
    from trailseal._downloaded import Download, DownloadedFile


class AsyncExports(AsyncCore):
    """`export`, `poll_result`, `wait`, `cancel`, `download_results`, `download_file`."""

    async def export(
        self,
        format: str = "jsonl",  # noqa: A002  # its name in the contract
        *,
        compression: str | None = None,
        query: str | None = None,
        search_id: str | None = None,
        order: str | None = None,
        order_by: str | None = None,
        include_proofs: bool = False,
        log_id: str | None = None,
        **filters: Unpack[Filters],
    ) -> Operation:
        """Start an export of all events that match (all, without a filter), oldest first.

        `format` is `jsonl` (the one that can be verified), `json` or `csv`; `compression` is
        `none` or `gzip`. Give the operation to `wait` or `poll_result`, its id to
        `download_results`. Only an ascending `jsonl` without filters can be proved complete.
        """
        values = _filters.filter_values(filters)
        times = {name: values.pop(name, None) for name in ("start", "end", "last", "time_field")}
        given = {
            "format": format,
            "compression": compression,
            "filter": values or None,
            "query": query,
            "search_id": search_id,
            "order": order,
            "order_by": order_by,
            "include_proofs": include_proofs or None,
            **times,
        }
        return await self._run(_exports.create(self._settings, given, log_id=log_id))

    async def poll_result(self, operation: _exports.Reference) -> Export | BatchResult | Operation:
        """Look once after an operation (or its id, or an `AcceptedRequestError`).

        Raises:
            AcceptedRequestError: It goes on; `.retry_after` says when to look again.
            OperationFailedError: It failed or was cancelled.
            ResultExpiredError: Its result is gone.
        """
        return await self._run(_exports.poll_result(self._settings, operation))

    async def wait(
        self,
        operation: _exports.Reference,
        *,
        timeout: float = 600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _exports.OnProgress | None = None,
    ) -> Export | BatchResult | Operation:
        """Wait up to `timeout` seconds for an operation's result; `on_progress` gets the operation.

        Raises:
            OperationTimeoutError: Not in time; the operation goes on, so call again.
            OperationFailedError, ResultExpiredError: As `poll_result`.
        """
        flow = _exports.wait(self._settings, operation, on_progress)
        return await self._run(flow, timeout=config.check_timeout(timeout))

    async def cancel(self, operation: _exports.Reference) -> Operation:
        """Cancel an operation; one that has ended stays as it is. Returns what it is now."""
        return await self._run(_exports.cancel(self._settings, operation))

    async def download_results(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        export_id: str | None = None,
        search_id: str | None = None,
        format: str = "jsonl",  # noqa: A002  # its name in the contract
        compression: str | None = None,
        overwrite: bool = False,
        timeout: float = 3600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _targets.OnBytes | None = None,
    ) -> Download:
        """Download a finished export (or export a stored search first) to a path or open file.

        In constant memory; cuts are resumed, at a path in a later process too (`PATH.part`); size
        and SHA-256 are checked; the file gets its name only when it is whole. A `jsonl` export at
        a path gets its manifest, note and checkpoint beside it, so that `verify` can check it
        offline. `on_progress` gets bytes so far and in all. `format` and `compression` are for a
        search; an export has its own.

        Raises:
            AcceptedRequestError: The export is not finished: `wait` for it.
            DownloadError: The file exists, or did not arrive whole; call again to go on.
            OperationFailedError, ResultExpiredError: There is nothing to download.
        """
        from trailseal._downloaded import Download  # noqa: PLC0415  # few download

        given = {"format": format, "compression": compression}
        target = _targets.target(path, overwrite=overwrite, on_progress=on_progress)
        with target:
            await asyncio.to_thread(target.load)
            flow = _exports.download(self._settings, target, export_id, search_id, given)
            export, beside = await self._run(flow, timeout=config.check_timeout(timeout))
            made = await asyncio.to_thread(target.commit, beside)
            return Download(target.path, export, target.size, target.sha256, made)

    async def download_file(
        self,
        url: str,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        sha256: str | None = None,
        overwrite: bool = False,
        timeout: float = 3600.0,  # noqa: ASYNC109  # the deadline of this call
        on_progress: _targets.OnBytes | None = None,
    ) -> DownloadedFile:
        """Download what a signed URL names to a path or open file, as `download_results` does.

        The URL must be permission enough: the API key goes to this client's own server only, and
        never along a redirect. `sha256` (hex) is checked where it is given.

        Raises:
            ConfigurationError: The URL is no http(s) URL.
            DownloadError: The file exists, or did not arrive whole; call again to go on.
            PermissionDeniedError, NotFoundError: The URL is not valid, or not any more.
        """
        from trailseal._downloaded import DownloadedFile  # noqa: PLC0415  # few download

        target = _targets.target(path, overwrite=overwrite, on_progress=on_progress)
        with target:
            await asyncio.to_thread(target.load)
            flow = _downloads.download(self._settings, target, url, sha256)
            await self._run(flow, timeout=config.check_timeout(timeout))
            await asyncio.to_thread(target.commit, {})
            return DownloadedFile(target.path, target.size, target.sha256)
