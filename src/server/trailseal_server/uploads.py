"""Uploads: a signed, expiring permission to send one file of JSON Lines, logged by an operation.

Rules:
- The token is the permission, like a presigned form of an object store: expiry and MAC
  (HMAC-SHA256 with the database's secret), checked before anything is looked up. After `expires_at`
  it is 403 `upload_expired`.
- A file is synced and renamed before the row names it; sending again replaces it until the upload
  is completed. The folder is shared by the processes of a server, like that of exports.
- The operation reads the file a line at a time, bounded whatever gzip makes of it, and writes
  `CHUNK_EVENTS` at a time. It may begin anew: a line without an id gets `<upload_id>:<line>`.
- Only failed lines are shown in the result, at most `MAX_FAILED_SHOWN`.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from . import upload_lines
from .auth import Caller
from .batches import Batches, show_item
from .channels import Route
from .operations import show as show_operation
from .problems import Problem
from .results import ItemResult
from .store import Store, jobs, micros, trouble, uploads
from .store.pages import Reader
from .store.uploads import UploadRow
from .targets import open_log, target_of
from .worker import LaterError, Lease, LostError, Worker

MAX_FAILED_SHOWN = 1000  # as the contract says


class Uploads:
    """The uploads of one database into files of one folder."""

    def __init__(
        self, reader: Reader, batches: Batches, folder: Path, limits: Mapping[str, int]
    ) -> None:
        self._reader = reader
        self._store: Store = reader.store
        self._batches = batches
        self._folder = folder
        self._most = limits["upload_bytes"]
        self.worker = Worker(self._store, "upload", self._do, tidy=self._sweep)

    def prepare(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, route: Route, request: Mapping[str, Any]) -> dict[str, Any]:
        """The `Upload` of an `UploadInput`; raises `Problem` log_required, log_not_found."""
        with self._store.write() as connection:
            target = target_of(route.caller, route.log_id, None)
            log_id = open_log(connection, route.caller, target)
            job = {
                "route": replace(route, log_id=log_id).as_json(),
                "compression": request.get("compression", "none"),
                "bytes": request.get("bytes"),
            }
            row = uploads.create(connection, log_id, route.caller, orjson.dumps(job))
        return self._show(row)

    def receive(self, upload_id: str, token: str) -> "Incoming":
        """A place for the file; raises `Problem` permission_denied, upload_expired,
        upload_not_found."""
        expires, _, _ = token.partition(".")
        if not hmac.compare_digest(token.encode(), self._token(upload_id, expires).encode()):
            raise Problem("permission_denied", "The token is not that of the upload")
        if int(expires) <= micros.now():
            raise Problem("upload_expired", "The upload has expired: begin another one")
        with self._store.read() as connection:
            row = uploads.find(connection, upload_id)
        if row.state == "completed":
            raise Problem("upload_expired", "The upload is completed: begin another one")
        return Incoming(self, row, self._folder, self._limit(row))

    def received(self, row: UploadRow, file: str, size: int, sha256: str) -> dict[str, Any]:
        """Note what has arrived, in place of what had; the `Upload`."""
        values = {"state": "received", "file": file, "bytes": size, "sha256": sha256}
        with self._store.write() as connection:
            before = uploads.find(connection, row.upload_id).file
            changed = uploads.change(connection, row, values)
        if before is not None:
            (self._folder / before).unlink(missing_ok=True)
        return self._show(changed)

    def complete(self, caller: Caller, upload_id: str, sha256: str) -> dict[str, Any]:
        """Queue the file and answer its `Operation`, the same one each time; raises `Problem`
        upload_not_found, upload_expired, checksum_mismatch."""
        with self._store.write() as connection:
            row = uploads.find(connection, upload_id, caller)
            if row.state != "completed" and row.expires_at <= micros.now():
                raise Problem("upload_expired", "The upload has expired: begin another one")
            if row.sha256 != sha256:
                detail = "has not arrived" if row.sha256 is None else "is another than arrived"
                raise Problem("checksum_mismatch", f"The content of this SHA-256 {detail}")
            if row.operation_id is not None:
                return show_operation(jobs.find(connection, caller, row.operation_id))
            request = {**orjson.loads(row.request), "file": row.file, "upload_id": upload_id}
            owner = replace(caller, key_id=row.key_id, tenant_id=row.tenant_id)
            values = {"log_id": row.log_id, "request": orjson.dumps(request)}
            job = jobs.create(connection, "upload", owner, values)
            done = {"state": "completed", "operation_id": job.operation_id}
            uploads.change(connection, row, done)
        self.worker.wake()
        return show_operation(job)

    def _do(self, lease: Lease) -> None:
        job = orjson.loads(lease.row.request)
        path = self._folder / job["file"]
        try:
            self._log(lease, job, path)
        except (LostError, LaterError):
            raise  # somebody goes on with the file
        except Exception as error:
            if trouble(error) is None:  # else the job goes back to the queue
                path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)

    def _log(self, lease: Lease, job: Mapping[str, Any], path: Path) -> None:
        route = Route.from_json(job["route"])
        counts = {"created": 0, "duplicate": 0, "failed": 0}
        failed: list[dict[str, Any]] = []
        done = 0
        for chunk in upload_lines.chunks(path, packed=job["compression"] == "gzip"):
            lease.report(done)
            events = [
                each
                if isinstance(each, Problem)
                else self._batches.named(each, f"{job['upload_id']}:{at}", f"/events/{at}")
                for at, each in enumerate(chunk, done)
            ]
            for item in self._batches.write(route, events):
                counts[item.status] += 1
                if item.status == "failed" and len(failed) < MAX_FAILED_SHOWN:
                    failed.append(_shown(item, done))
            done += len(events)
        lease.succeed({"results": failed, **counts}, done)

    def _sweep(self) -> None:
        """Remove uploads past their time, with their files."""
        with self._store.write() as connection:
            rows = uploads.expired(connection)
            for row in rows:
                uploads.remove(connection, row)
        for row in rows:
            if row.file is not None:
                (self._folder / row.file).unlink(missing_ok=True)

    def _limit(self, row: UploadRow) -> int:
        return orjson.loads(row.request)["bytes"] or self._most

    def _token(self, upload_id: str, expires: str) -> str:
        told = f"trailseal/upload/v1\n{upload_id}\n{expires}\n".encode()
        return f"{expires}.{hmac.digest(self._reader.secret(), told, 'sha256').hex()}"

    def _show(self, row: UploadRow) -> dict[str, Any]:
        """The contract's `Upload`."""
        token = self._token(row.upload_id, str(row.expires_at))
        told = {name: getattr(row, name) for name in ("bytes", "sha256", "operation_id")}
        return {
            "upload_id": row.upload_id,
            "log_id": row.log_id,
            "state": row.state,
            "content_url": f"/v1/uploads/{row.upload_id}/content?token={token}",
            "token": token,
            "max_bytes": self._limit(row),
            "created_at": micros.text(row.created_at),
            "expires_at": micros.text(row.expires_at),
            **{name: value for name, value in told.items() if value is not None},
        }


class Incoming:
    """A file that arrives: `write` pieces, then `finish`; `close` drops what was not finished."""

    def __init__(self, owner: Uploads, row: UploadRow, folder: Path, limit: int) -> None:
        self.limit = limit
        self._owner = owner
        self._row = row
        self._path = folder / f"{row.upload_id}.{secrets.token_hex(8)}.part"
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, piece: bytes) -> None:
        """Take a piece; raises `Problem("body_too_large")`."""
        self._size += len(piece)
        if self._size > self.limit:
            raise Problem("body_too_large", f"The upload takes at most {self.limit} bytes")
        if self._file is None:
            opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(opened, "wb")
        self._digest.update(piece)
        self._file.write(piece)

    def finish(self) -> dict[str, Any]:
        """Put the file in its place and answer the `Upload`."""
        self.write(b"")
        assert self._file is not None  # noqa: S101 - write opens it
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close(keep=True)
        whole = self._path.with_suffix(".data")
        self._path.replace(whole)
        try:
            return self._owner.received(self._row, whole.name, self._size, self._digest.hexdigest())
        except BaseException:
            whole.unlink(missing_ok=True)
            raise

    def close(self, *, keep: bool = False) -> None:
        """Close the file, and remove it unless it is to be kept."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not keep:
            self._path.unlink(missing_ok=True)


def _shown(item: ItemResult, before: int) -> dict[str, Any]:
    """A failed `BatchItem` by its place in the file instead of in its chunk."""
    body = show_item(item)
    here, there = f"/events/{item.position}", f"/events/{item.position + before}"
    error = orjson.loads(orjson.dumps(body["error"]).replace(here.encode(), there.encode()))
    return {**body, "position": item.position + before, "error": error}
