"""Exports: jobs that write the events of a log into a file, with a signed manifest.

Rules:
- A job is a row (store/jobs.py): it outlives the server and is shared by its processes. What it
  holds is decided in export_plans.py, and made in export_maker.py.
- `iter_export` streams at once, without a job or a manifest.
- Everything about another tenant's export is 404. A log is checked by the caller of this module.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from . import export_formats
from .auth import Caller
from .cursors import Cursor, query_hash
from .export_maker import Maker, Signer
from .export_plans import Request, export, iter_export, plan
from .operations import show
from .problems import Problem
from .store import jobs
from .store.jobs import JobRow
from .store.pages import DEFAULT_LIMIT, PageRequest, Reader
from .store.selections import Order
from .worker import Worker

__all__ = ["Content", "Exports", "Signer", "iter_export"]


@dataclass(frozen=True, slots=True)
class Content:
    """A finished export's file; `sha256` in hex is its ETag."""

    path: Path
    bytes: int
    sha256: str
    media_type: str
    filename: str


class Exports:
    """The exports of one database; `start()` runs the worker, `stop()` ends it."""

    def __init__(self, reader: Reader, signer: Signer, folder: Path) -> None:
        self._reader = reader
        self._store = reader.store
        self._maker = Maker(reader.store, signer, folder)
        self.worker = Worker(reader.store, jobs.EXPORT, self._maker.make, self._maker.remove)

    def start(self) -> None:
        """Start the worker's thread."""
        self._maker.prepare()
        self.worker.start()

    def stop(self) -> None:
        """End the worker; a job it was at goes back to the queue."""
        self.worker.stop()

    def create(self, caller: Caller, log_id: str, request: Request) -> dict[str, Any]:
        """Queue an export and answer its `Operation`; raises `Problem` for what cannot be done."""
        with self._store.write() as connection:
            job = plan(connection, caller, log_id, request)
            values = {"log_id": job["log_id"], "request": orjson.dumps(job)}
            row = jobs.create(connection, jobs.EXPORT, caller, values)
        self.worker.wake()
        return show(row)

    def get(self, caller: Caller, export_id: str) -> dict[str, Any]:
        """The `Export`; raises `Problem("export_not_found")`."""
        with self._store.read() as connection:
            return export(jobs.find_export(connection, caller, export_id))

    def list_exports(
        self,
        log_id: str,
        *,
        order: Order = "desc",
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """A page of the log's exports."""
        query = query_hash({"exports": log_id, "order": order})
        request = PageRequest(order, limit, cursor)
        place = self._reader.place(request, Cursor(query, None, 0, ()))
        with self._store.read() as connection:
            rows = jobs.of_log(connection, log_id, limit + 1, place.key or None, order)
        more, rows = len(rows) > limit, rows[:limit]
        following = None
        if more:
            at = rows[-1].created_at
            same = sum(row.created_at == at for row in rows)
            before = place.key[1] if place.key and place.key[0] == at else 0
            following = self._reader.mark(Cursor(query, None, 0, (at, before + same)))
        items = [export(row) for row in rows]
        return {"items": items, "next_cursor": following, "has_more": more}

    def delete(self, caller: Caller, export_id: str) -> None:
        """Remove an export with its file; a running one is cancelled by it."""
        with self._store.write() as connection:
            row = jobs.find_export(connection, caller, export_id)
            jobs.remove(connection, row)
        self._maker.remove(export_id)

    def remove_files(self, export_ids: Iterable[str]) -> None:
        """Remove the files of exports that are no more."""
        for export_id in export_ids:
            self._maker.remove(export_id)

    def content(self, caller: Caller, export_id: str) -> Content:
        """The file of a finished export; raises `Problem`: export_not_found, export_expired,
        operation_failed, and operation_pending while it is not there."""
        row, result = self._finished(caller, export_id)
        job = orjson.loads(row.request)
        path = self._maker.path(result["file"])
        if not path.is_file():
            raise Problem("export_expired", "The export's file is gone: create it again")
        form, packed = job["format"], job["compression"] == "gzip"
        media_type = "application/gzip" if packed else export_formats.MEDIA_TYPES[form]
        filename = f"{export_id}.{form}{'.gz' if packed else ''}"
        return Content(path, result["bytes"], result["sha256"], media_type, filename)

    def manifest(self, caller: Caller, export_id: str) -> dict[str, str]:
        """The `ExportManifest`: exact texts of manifest, note and checkpoint."""
        _, result = self._finished(caller, export_id)
        texts = {name: result[name] for name in ("manifest", "note", "checkpoint")}
        return {"export_id": export_id, **texts}

    def _finished(self, caller: Caller, export_id: str) -> tuple[JobRow, dict[str, Any]]:
        with self._store.read() as connection:
            row = jobs.find_export(connection, caller, export_id)
        now = jobs.state(row)
        if now == "expired":
            raise Problem("export_expired", "The export has ended: create it again")
        if now in jobs.ACTIVE:
            raise Problem(
                "operation_pending",
                "The export is not finished: poll its operation",
                retry_after=1.0,
            )
        if now != "succeeded":
            raise Problem("export_not_found", f"The export has no content: it is {now}")
        return row, orjson.loads(row.result)
