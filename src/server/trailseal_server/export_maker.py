"""Making an export: the job of a worker (worker.py) that ends with a file and its manifest.

Rules:
- Nothing is published before it is whole, so a job can begin anew at any time. Content is written
  to a `.part` file, synced, and renamed; then the row says `succeeded`.
- An export is made against one checkpoint, at least as large as the log was at the request. It
  covers the log as of that checkpoint (of a search: as of that search), so that the manifest proves
  what it says, and each line of a filtered export its place.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from . import export_formats
from .export_formats import Line
from .export_plans import read_chunks, selected, write_file
from .manifest import manifest
from .problems import Problem
from .store import Store, checkpoints, matching, micros, selections
from .store.checkpoints import CheckpointRow
from .store.jobs import JobRow
from .store.proofs import Prover
from .store.selections import Selection
from .worker import Lease, LostError

SEAL_DEADLINE_S = 60.0  # for a checkpoint that covers the log; the signer makes one a second
SEAL_POLL_S = 0.05
RENEW_S = 0.5  # between two reports: each is a transaction; a lease is far longer


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


class Maker:
    """Makes the exports of one database into files of one folder."""

    def __init__(self, store: Store, signer: Signer, folder: Path) -> None:
        self._store = store
        self._signer = signer
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, name: str) -> Path:
        """Where the file that a finished export names is."""
        return self._folder / name

    def remove(self, export_id: str) -> None:
        """Remove an export's files, what killed workers left of it too."""
        for path in self._folder.glob(f"{export_id}.*"):
            path.unlink(missing_ok=True)

    def make(self, lease: Lease) -> None:
        """Do one job (what the worker's thread does with each)."""
        part = self._folder / f"{lease.row.operation_id}.{lease.worker}.part"
        self.remove(lease.row.operation_id)
        try:
            self._do(lease, part)
        finally:
            part.unlink(missing_ok=True)

    def _do(self, lease: Lease, part: Path) -> None:
        row = lease.row
        job = orjson.loads(row.request)
        checkpoint = self._checkpoint(lease, job["tree_size"])
        with self._store.read() as connection:
            log = selections.find_log(connection, row.log_id)
            most = checkpoint.tree_size if job["search"] is None else job["tree_size"]
            selection = selected(connection, selections.at_size(log, most), job)
            total, exact = matching.count(connection, selection)
        recomputable = selection.is_range and job["order"] == "asc" and job["most"] is None
        chunks = read_chunks(
            self._store,
            selection,
            job["order"],
            checkpoint if job["include_proofs"] and not recomputable else None,
            job["most"],
        )
        tally = _Tally()
        watched = self._watched(lease, chunks, tally, total if exact else None)
        pieces = export_formats.write(watched, job["format"])
        if job["compression"] == "gzip":
            pieces = export_formats.gzip(pieces)
        digest, size = write_file(part, pieces)
        facts = {"bytes": size, "sha256": digest, **tally.facts()}
        self._publish(lease, part, self._result(row, selection, checkpoint, facts))

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

    def _publish(self, lease: Lease, part: Path, result: dict[str, Any]) -> None:
        # Renamed first: a row that says `succeeded` always has its file. The name is this worker's
        # own: one that lost its lease without knowing cannot overwrite another's file.
        whole = part.with_suffix(".data")
        try:
            part.replace(whole)
        except FileNotFoundError:  # removed by the worker that took the job over
            raise LostError from None
        try:
            lease.succeed({**result, "file": whole.name}, result["count"])
        except LostError:
            whole.unlink(missing_ok=True)
            raise

    def _watched(
        self, lease: Lease, chunks: Iterator[Sequence[Line]], tally: "_Tally", total: int | None
    ) -> Iterator[Sequence[Line]]:
        """The chunks, counted; now and then the lease is renewed."""
        renewed = 0.0
        for chunk in chunks:
            if time.monotonic() - renewed > RENEW_S:
                lease.report(tally.count, total)
                renewed = time.monotonic()
            tally.add([row[0] for row, _ in chunk])  # idx, see EXPORTED
            yield chunk

    def _checkpoint(self, lease: Lease, tree_size: int) -> CheckpointRow:
        """The latest checkpoint, once it covers the log as it was at the request."""
        deadline = time.monotonic() + SEAL_DEADLINE_S
        log_id = lease.row.log_id
        self._signer.seal(log_id)
        while time.monotonic() < deadline:
            with self._store.read() as connection:
                found = checkpoints.latest(connection, log_id)
            if found is not None and found.tree_size >= tree_size:
                return found
            lease.pause(SEAL_POLL_S)
        raise Problem("unavailable", "No checkpoint covers the log yet: create the export again")


@dataclass(slots=True)
class _Tally:
    """What was written."""

    count: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, indexes: Sequence[int]) -> None:
        if indexes:
            low, high = min(indexes), max(indexes)
            self.count += len(indexes)
            self.first = low if self.first is None else min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)

    def facts(self) -> dict[str, int | None]:
        """The manifest's members."""
        return {"count": self.count, "first_index": self.first, "last_index": self.last}
