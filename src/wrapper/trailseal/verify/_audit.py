"""The check of one bundle as a whole; `Verifier.verify_bundle` is its only caller.

1. First who says it: the note over the manifest, and the checkpoint in it. Without a key the
   rest is still checked, and the report says that it could not verify.
2. Then each line by itself (`line.py`), in its place in the order, and in the log: by its own
   proof where it has one, and by recomputing the checkpoint's root from boundary ‖ leaves ‖
   boundary where the range is unfiltered and ascending.
3. A bad line is a finding, and reading goes on. The tree goes on too while entries can be read:
   it then shows that an event was changed and the log was not.
4. Complete means: the root came out, nothing else was found, and for a time range the entries
   next to it are in the log and outside its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from . import _workers, merkle
from .bundle import Content, Files, Manifest, Neighbour, read_sidecar
from .checkpoint import Checkpoint
from .errors import CheckpointForkError, EventCorruptionError, ProofError, UnverifiableError
from .line import Checked, Expected
from .note import Note, VerifierKey
from .report import Findings, Progress, Report

MAX_SURPLUS_LINES = 1000  # beyond the manifest's count: enough to name them, too few to stall
PROGRESS_EVERY = 1000  # lines


class Audit:
    """One pass over one bundle: make one, call `run` once."""

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        signing_keys: Mapping[str, str],
        processes: int | None,
        on_progress: Callable[[Progress], object] | None,
    ) -> None:
        self._keys = keys
        self._signing_keys = signing_keys
        self._processes = processes
        self._on_progress = on_progress
        self._manifest: Manifest | None = None
        self._checkpoint: Checkpoint | None = None
        self._tree: merkle.RootBuilder | None = None  # where the root is to be recomputed
        self._root_recomputed = False
        self._findings = Findings()
        self._next = 0  # the index that the next line should have
        self._last_received_at: str | None = None
        self._lines = self._redacted = self._signed = self._checked = self._trusted = 0

    def run(self, locate: Callable[[], Files], *, complete: bool) -> Report:
        """Check everything; with `complete`, it is a finding if completeness is not proved."""
        with self._findings:
            files = locate()
            manifest = self._read_manifest(files)
            with self._findings:
                self._check_checkpoint(files, manifest)
            self._begin_tree(manifest)
            self._check_content(files, manifest)
            self._check_end(manifest)
            with self._findings:
                self._check_time_range(manifest)
        reason = self._why_incomplete()
        if complete and reason is not None and not self._findings.first:  # else it follows
            self._findings.append(UnverifiableError(f"not proved complete: {reason}"))
        return self._report(reason)

    # Who says it

    def _read_manifest(self, files: Files) -> Manifest:
        data = read_sidecar(files.manifest)
        self._manifest = manifest = Manifest.parse(data)
        with self._findings:
            note = Note.parse(read_sidecar(files.manifest_note))
            digest = hashlib.sha256(data).hexdigest()
            if note.text != f"trailseal/manifest/v1\n{manifest.origin}\n{digest}\n":
                raise ProofError("the manifest is not the one that was signed", kind="manifest")
            note.verify(self._keys, manifest.origin)
        return manifest

    def _check_checkpoint(self, files: Files, manifest: Manifest) -> None:
        if manifest.checkpoint is None:
            raise UnverifiableError("the log had no checkpoint when it was exported")
        note = Note.parse(manifest.checkpoint)
        checkpoint = Checkpoint.parse(note.text)
        if (checkpoint.origin, checkpoint.log_id) != (manifest.origin, manifest.log_id):
            raise ProofError("the checkpoint is of another log than the manifest", kind="origin")
        self._checkpoint = checkpoint
        with self._findings:
            note.verify(self._keys, checkpoint.origin)
        beside = read_sidecar(files.checkpoint)
        if beside != manifest.checkpoint.encode():
            self._refuse_other_checkpoint(Note.parse(beside), checkpoint)

    def _refuse_other_checkpoint(self, note: Note, ours: Checkpoint) -> None:
        other = Checkpoint.parse(note.text)
        with suppress(UnverifiableError):  # without a key, that it differs is wrong enough
            note.verify(self._keys, other.origin)
        if (other.origin, other.tree_size) == (ours.origin, ours.tree_size) and (
            other.root_hash != ours.root_hash
        ):
            raise CheckpointForkError(f"the log has two roots for {ours.tree_size} events")
        raise ProofError("the checkpoint file is not the manifest's", kind="checkpoint")

    # The lines

    def _check_content(self, files: Files, manifest: Manifest) -> None:
        self._next = (manifest.first_index if manifest.ascending else manifest.last_index) or 0
        most = manifest.count + MAX_SURPLUS_LINES
        processes = self._processes or _workers.sensible_processes(manifest.size)
        with files.open_content() as file:
            content = Content(file, compressed=manifest.compressed)
            lines = content.lines()
            for line in _workers.check_lines(
                islice(lines, most), self._expected(manifest), processes
            ):
                self._lines += 1
                self._findings.at = (self._next, self._lines)
                with self._findings:
                    self._take_line(line, manifest)
                if self._lines % PROGRESS_EVERY == 0:
                    self._tell_progress(manifest)
            self._findings.at = (None, None)
            with self._findings:
                if self._lines == most and any(True for _ in lines):
                    raise ProofError("many more lines than announced", kind="content")
            with self._findings:
                content.check(manifest)
        self._tell_progress(manifest)

    def _expected(self, manifest: Manifest) -> Expected:
        return Expected(
            log_id=manifest.log_id,
            tree_size=self._checkpoint.tree_size if self._checkpoint else 0,
            root_hash=self._checkpoint.root_hash if self._checkpoint else None,
            in_tree=self._tree is not None,
            start=manifest.start,
            end=manifest.end,
            signing_keys=self._signing_keys,
        )

    def _take_line(self, line: Checked, manifest: Manifest) -> None:
        if line.at is None:
            self._next += 0 if manifest.filtered else manifest.step  # it stood for this index
            raise line.faults[0]
        self._findings.at = (line.at, self._lines)
        self._check_order(line.at, manifest)
        for fault in line.faults:
            self._findings.append(fault)
        if line.leaf_hash is None:
            return
        if self._tree is not None and self._tree.size == line.at:
            self._tree.append(line.leaf_hash)
        self._redacted += line.redacted
        self._signed += line.signed
        self._checked += line.trusted is not None
        self._trusted += line.trusted is True
        last, now = self._last_received_at, line.received_at
        self._last_received_at = now
        if last is not None and (now < last if manifest.ascending else now > last):
            raise ProofError("'received_at' goes back within the log", kind="time")

    def _check_order(self, index: int, manifest: Manifest) -> None:
        first, last = manifest.first_index, manifest.last_index
        if first is None or last is None or not first <= index <= last:
            raise ProofError("the index is outside the manifest's range", kind="order")
        ahead = (index - self._next) * manifest.step
        if ahead < 0:
            raise ProofError("the line comes twice or out of order", kind="order")
        if ahead and not manifest.filtered:
            self._note_missing(self._next, index - manifest.step)
        self._next = index + manifest.step

    # The whole

    def _begin_tree(self, manifest: Manifest) -> None:
        first, left = manifest.first_index, manifest.left
        if manifest.filtered or not manifest.ascending or first is None or left is None:
            return
        self._tree = merkle.RootBuilder()
        with self._findings:
            self._tree.append_range(left, first)

    def _check_end(self, manifest: Manifest) -> None:
        first, last, checkpoint = manifest.first_index, manifest.last_index, self._checkpoint
        if manifest.filtered:
            if self._lines != manifest.count:
                reason = f"{manifest.count} lines are announced, {self._lines} were read"
                self._findings.append(ProofError(reason, kind="missing"))
        elif first is not None and last is not None:
            end = last if manifest.ascending else first
            if (end - self._next) * manifest.step >= 0:
                self._note_missing(self._next, end)
        elif checkpoint is not None and checkpoint.tree_size and not manifest.has_time_range:
            self._note_missing(0, checkpoint.tree_size - 1)
        with self._findings:
            self._check_root(manifest)

    def _check_root(self, manifest: Manifest) -> None:
        tree, checkpoint, last = self._tree, self._checkpoint, manifest.last_index
        if tree is None:
            return  # each line had to bring its own proof
        if checkpoint is None or last is None or tree.size != last + 1:
            reason = "not all entries could be read, so the checkpoint's root proves none of them"
            raise UnverifiableError(reason)
        tree.append_range(manifest.right or [], checkpoint.tree_size)
        if tree.root() != checkpoint.root_hash:
            reason = "the entries do not give the checkpoint's root: one or more is not the log's"
            raise ProofError(reason, kind="root")
        self._root_recomputed = True

    def _check_time_range(self, manifest: Manifest) -> None:
        checkpoint = self._checkpoint
        if manifest.filtered or not manifest.has_time_range or checkpoint is None:
            return
        before, after = manifest.before, manifest.after
        below = before.index if before else -1
        above = after.index if after else checkpoint.tree_size
        first = above if manifest.first_index is None else manifest.first_index
        last = below if manifest.last_index is None else manifest.last_index
        bounded_below, bounded_above = manifest.start is not None, manifest.end is not None
        if (bounded_below and below + 1 != first) or (bounded_above and above - 1 != last):
            raise ProofError("the entries named beside the time range are not", kind="range")
        for neighbour in filter(None, (before, after)):
            _verify_neighbour(neighbour, checkpoint)
        if before and not before.entry.received_at < (manifest.start or ""):
            raise ProofError("the entry before the time range belongs to it", kind="range")
        if after and not (manifest.end or "~") < after.entry.received_at:
            raise ProofError("the entry after the time range belongs to it", kind="range")

    def _why_incomplete(self) -> str | None:
        manifest, checkpoint = self._manifest, self._checkpoint
        if self._findings.first or manifest is None or checkpoint is None:
            return "not everything could be verified"
        if manifest.filtered:
            return (
                "a filtered export shows that its events are in the log, not that it has them all"
            )
        if not manifest.ascending:
            return "it is proved for ascending order only"
        if manifest.first_index is not None and not self._root_recomputed:
            return "the manifest has no 'boundary'"
        return None

    # Notes

    def _note_missing(self, begin: int, end: int) -> None:
        first, last = min(begin, end), max(begin, end)
        which = "the event is" if first == last else f"the events {first} to {last} are"
        self._findings.append(ProofError(f"{which} missing", index=first, kind="missing"))

    def _tell_progress(self, manifest: Manifest) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(self._lines, manifest.count))

    def _report(self, reason: str | None) -> Report:
        manifest = self._manifest
        return Report(
            checkpoint=self._checkpoint,
            first_index=None if manifest is None else manifest.first_index,
            last_index=None if manifest is None else manifest.last_index,
            events=self._lines,
            redacted=self._redacted,
            signed=self._signed,
            signatures_checked=self._checked,
            signatures_trusted=self._trusted,
            complete=reason is None,
            incomplete_reason=reason,
            findings=tuple(self._findings.first),
            counts=dict(self._findings.counts),
        )


def _verify_neighbour(neighbour: Neighbour, checkpoint: Checkpoint) -> None:
    if neighbour.entry.log_id != checkpoint.log_id:
        raise EventCorruptionError("an entry beside the time range is of another log")
    size, root = checkpoint.tree_size, checkpoint.root_hash
    leaf = neighbour.entry.leaf_hash
    merkle.verify_inclusion(neighbour.index, size, leaf, neighbour.hashes, root)
