"""The worker that makes exports: one thread, one job at a time, under a lease (store/jobs.py).

Rules:
- A job whose worker died is claimed again and begins anew: nothing is published before it is whole.
  Content is written to a `.part` file, synced, and renamed; then the row says `succeeded`.
- An export is made against one checkpoint, at least as large as the log was at the request. It
  covers the log as of that checkpoint (of a search: as of that search), so that the manifest proves
  what it says, and each line of a filtered export its place.
- Between chunks the lease is renewed; a job that was cancelled or taken over is put down.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from . import export_formats
from .export_formats import Line
from .export_plans import read_chunks, selected, write_file
from .manifest import manifest
from .problems import Problem
from .store import Store, checkpoints, jobs, micros, reads
from .store.checkpoints import CheckpointRow
from .store.jobs import JobRow
from .store.proofs import Prover
from .store.reads import Selection

POLL_S = 1.0  # between looks for jobs that other processes queued
SEAL_DEADLINE_S = 60.0  # for a checkpoint that covers the log; the signer makes one a second
SEAL_POLL_S = 0.05
SWEEP_S = 60.0  # between looks for exports past their time
STOP_DEADLINE_S = 10.0  # for the worker to put down its job

_FAILED = "The export failed on the server: create it again"


class Signer(Protocol):
    """What exports need of the log's signer."""

    def origin(self, log_id: str) -> str:
        """The log's origin."""
        ...

    def sign_note(self, origin: str, text: str) -> str:
        """A signed note over `text`, with the origin as the key's name."""
        ...

    def seal(self, log_id: str) -> object:
        """Sign a checkpoint of the log as it is now, unless there is one."""
        ...


class _LostError(Exception):
    """The job is no longer this worker's: cancelled, expired, or claimed by another."""


class Worker:
    """Makes the exports of one database into files of one folder."""

    def __init__(self, store: Store, signer: Signer, folder: Path) -> None:
        self._store = store
        self._signer = signer
        self._folder = folder
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the worker's thread."""
        if self._thread is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="exports", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the worker within `STOP_DEADLINE_S`; its job goes back to the queue."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_DEADLINE_S)
            self._thread = None

    def wake(self) -> None:
        """There is a new job: look at once."""
        self._wake.set()

    def path(self, name: str) -> Path:
        """Where the file that a finished export names is."""
        return self._folder / name

    def remove(self, export_id: str) -> None:
        """Remove an export's files."""
        for path in self._folder.glob(f"{export_id}.*.data"):
            path.unlink(missing_ok=True)

    def work(self) -> bool:
        """Claim one job and do it; False if there was none. (What the thread does in a loop.)"""
        row = jobs.claim(self._store, self._name)
        if row is None:
            return False
        part = self._folder / f"{row.operation_id}.{self._name}.part"
        try:
            self._do(row, part)
        except _LostError:
            if self._stopping.is_set():
                jobs.finish(self._store, row, self._name, "pending")
        except Exception as error:  # noqa: BLE001 - whatever it was, the job's owner must learn of it
            self._fail(row, error)
        finally:
            part.unlink(missing_ok=True)
        return True

    def sweep(self) -> None:
        """Remove the files of exports past their time."""
        for export_id in jobs.expire(self._store):
            self.remove(export_id)

    def _run(self) -> None:
        swept = 0.0
        while not self._stopping.is_set():
            with suppress(Exception):  # a database that is away comes back; the loop goes on
                if time.monotonic() - swept > SWEEP_S:
                    self.sweep()
                    swept = time.monotonic()
                if self.work():
                    continue
            self._wake.wait(POLL_S)
            self._wake.clear()

    def _do(self, row: JobRow, part: Path) -> None:
        job = orjson.loads(row.request)
        checkpoint = self._checkpoint(row, job["tree_size"])
        with self._store.read() as connection:
            log = reads.find_log(connection, row.log_id)
            most = checkpoint.tree_size if job["search"] is None else job["tree_size"]
            selection = selected(connection, reads.at_size(log, most), job)
            total, exact = reads.count(connection, selection)
        recomputable = selection.is_range and job["order"] == "asc" and job["most"] is None
        chunks = read_chunks(
            self._store,
            selection,
            job["order"],
            checkpoint if job["include_proofs"] and not recomputable else None,
            job["most"],
        )
        tally = _Tally()
        lines = self._watched(row, chunks, tally, total if exact else None)
        pieces = export_formats.write(lines, job["format"])
        if job["compression"] == "gzip":
            pieces = export_formats.gzip(pieces)
        digest, size = write_file(part, pieces)
        facts = {"bytes": size, "sha256": digest, **tally.facts()}
        self._publish(row, part, self._result(row, selection, checkpoint, facts))

    def _result(
        self, row: JobRow, selection: Selection, checkpoint: CheckpointRow, facts: dict[str, Any]
    ) -> dict[str, Any]:
        origin = self._signer.origin(row.log_id)
        whole = selection.is_range and facts["count"] == selection.high - selection.low
        known = {"export_id": row.operation_id, "created_at": micros.text(row.created_at)}
        with self._store.read() as connection:
            text = manifest(
                connection,
                Prover(connection, selection.log, checkpoint),
                selection,
                orjson.loads(row.request),
                {**known, "origin": origin, **facts},
                whole=whole,
            )
        digest = hashlib.sha256(text).hexdigest()
        note = self._signer.sign_note(origin, f"trailseal/manifest/v1\n{origin}\n{digest}\n")
        texts = {"manifest": text.decode(), "note": note, "checkpoint": checkpoint.note}
        return {**texts, "events": facts["count"], **facts}

    def _publish(self, row: JobRow, part: Path, result: dict[str, Any]) -> None:
        # Renamed first: a row that says `succeeded` always has its file. The name is this worker's
        # own: one that lost its lease without knowing cannot overwrite another's file.
        whole = part.with_suffix(".data")
        part.replace(whole)
        progress = orjson.dumps({"done": result["count"], "total": result["count"]})
        values = {"result": orjson.dumps({**result, "file": whole.name}), "progress": progress}
        if not jobs.finish(self._store, row, self._name, "succeeded", **values):
            whole.unlink(missing_ok=True)
            raise _LostError

    def _watched(
        self, row: JobRow, chunks: Iterator[Sequence[Line]], tally: "_Tally", total: int | None
    ) -> Iterator[Line]:
        """The lines, counted; between chunks the lease is renewed."""
        for chunk in chunks:
            if self._stopping.is_set():
                raise _LostError
            if not jobs.progress(self._store, row, self._name, tally.count, total):
                raise _LostError
            for line in chunk:
                tally.add(line[0].idx)
                yield line

    def _checkpoint(self, row: JobRow, tree_size: int) -> CheckpointRow:
        """The latest checkpoint, once it covers the log as it was at the request."""
        deadline = time.monotonic() + SEAL_DEADLINE_S
        self._signer.seal(row.log_id)
        while time.monotonic() < deadline:
            with self._store.read() as connection:
                found = checkpoints.latest(connection, row.log_id)
            if found is not None and found.tree_size >= tree_size:
                return found
            if self._stopping.wait(SEAL_POLL_S):
                raise _LostError
        raise Problem("unavailable", "No checkpoint covers the log yet: create the export again")

    def _fail(self, row: JobRow, error: Exception) -> None:
        problem = error if isinstance(error, Problem) else Problem("operation_failed", _FAILED)
        body = orjson.dumps(problem.as_json())
        jobs.finish(self._store, row, self._name, "failed", error=body)


@dataclass(slots=True)
class _Tally:
    """What was written."""

    count: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, index: int) -> None:
        self.count += 1
        self.first = index if self.first is None else min(self.first, index)
        self.last = index if self.last is None else max(self.last, index)

    def facts(self) -> dict[str, int | None]:
        """The manifest's members."""
        return {"count": self.count, "first_index": self.first, "last_index": self.last}
