"""The check of one bundle, line by line; `Verifier.verify_bundle` is its only caller.

1. First who says it: the note over the manifest, and the checkpoint in it. Without a key the
   rest is still checked, and the report says that it could not verify.
2. Then each line by itself (event → fields_hash → entry), in its place in the order, and in the
   log: by its own proof where it has one, and by recomputing the checkpoint's root from
   boundary ‖ leaves ‖ boundary where the range is unfiltered and ascending.
3. A bad line is a finding, and reading goes on. The tree goes on too while entries can be read:
   it then shows that an event was changed and the log was not.
4. Complete means: the root came out, nothing else was found, and for a time range the entries
   next to it are in the log and outside its time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from . import merkle
from .bundle import Content, Files, Line, Manifest, Neighbour, read_sidecar
from .checkpoint import Checkpoint
from .entry import Entry
from .errors import (
    CheckpointForkError,
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)
from .note import Note, VerifierKey
from .report import Finding, Progress, Report

MAX_FINDINGS = 100  # kept in a report; the rest is counted
MAX_SURPLUS_LINES = 1000  # beyond the manifest's count: enough to name them, too few to stall
PROGRESS_EVERY = 1000  # lines


class _Noting:
    """`with noting:` turns an `IntegrityError` into a finding and goes on behind the block."""

    def __init__(self, note: Callable[[IntegrityError], None]) -> None:
        self._note = note

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: object, _traceback: object) -> bool:
        if isinstance(error, IntegrityError):
            self._note(error)
        return isinstance(error, IntegrityError)


class Audit:
    """One pass over one bundle: make one, call `run` once."""

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        signing_keys: Mapping[str, str],
        on_progress: Callable[[Progress], object] | None,
    ) -> None:
        self._keys = keys
        self._signing_keys = signing_keys
        self._on_progress = on_progress
        self._manifest: Manifest | None = None
        self._checkpoint: Checkpoint | None = None
        self._tree: merkle.RootBuilder | None = None  # where the root is to be recomputed
        self._root_recomputed = False
        self._findings: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._noting = _Noting(self._note)
        self._at: tuple[int | None, int | None] = (None, None)  # index and line under check
        self._next = 0  # the index that the next line should have
        self._last_received_at: str | None = None
        self._lines = self._redacted = self._signed = self._signatures_checked = 0

    def run(self, path: Path, *, complete: bool) -> Report:
        """Check everything; with `complete`, it is a finding if completeness is not proved."""
        with self._noting:
            files = Files.locate(path)
            manifest = self._read_manifest(files)
            with self._noting:
                self._check_checkpoint(files, manifest)
            self._begin_tree(manifest)
            self._check_content(files, manifest)
            self._check_end(manifest)
            with self._noting:
                self._check_time_range(manifest)
        reason = self._why_incomplete()
        if complete and reason is not None and not self._findings:  # else it follows from them
            self._note(UnverifiableError(f"not proved complete: {reason}"))
        return self._report(reason)

    # Who says it

    def _read_manifest(self, files: Files) -> Manifest:
        data = read_sidecar(files.manifest)
        self._manifest = manifest = Manifest.parse(data)
        with self._noting:
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
        with self._noting:
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
        try:
            file = files.content.open("rb")
        except OSError as error:
            reason = f"cannot read {files.content.name}: {error.strerror}"
            raise MalformedError(reason, kind="input") from None
        with file:
            content = Content(file, compressed=manifest.compressed)
            with self._noting:
                for number, text in enumerate(content.lines(), 1):
                    if number > manifest.count + MAX_SURPLUS_LINES:
                        raise ProofError("many more lines than announced", kind="content")
                    self._lines, self._at = number, (self._next, number)
                    with self._noting:
                        self._check_line(text, manifest)
                    if self._lines % PROGRESS_EVERY == 0:
                        self._tell_progress(manifest)
            self._at = (None, None)
            with self._noting:
                content.check(manifest)
        self._tell_progress(manifest)

    def _check_line(self, text: bytes | None, manifest: Manifest) -> None:
        try:
            line = Line.parse(text)
        except MalformedError:
            self._next += 0 if manifest.filtered else manifest.step  # it stood for this index
            raise
        self._at = (line.index, self._lines)
        self._check_order(line.index, manifest)
        entry = Entry.parse(line.entry)
        with self._noting:
            self._check_leaf(line, entry, manifest)
        with self._noting:
            self._check_time(entry, manifest)
        with self._noting:
            entry.check_event(line.event, line.commitments)
        self._redacted += line.commitments.get("salts") is not None
        self._signed += entry.signature is not None
        entry.check_signature(self._signing_keys)
        self._signatures_checked += entry.signing_key(self._signing_keys) is not None

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

    def _check_leaf(self, line: Line, entry: Entry, manifest: Manifest) -> None:
        if self._tree is not None and self._tree.size == line.index:
            self._tree.append(entry.leaf_hash)
        if entry.log_id != manifest.log_id:
            raise EventCorruptionError("the entry is of another log", kind="entry")
        if line.proof is not None and self._checkpoint is not None:
            self._verify_inclusion(line.index, entry, line.proof)
        elif self._tree is None:
            raise UnverifiableError("nothing shows that the entry is in the log")

    def _check_time(self, entry: Entry, manifest: Manifest) -> None:
        last, now = self._last_received_at, entry.received_at
        self._last_received_at = now
        if last is not None and (now < last if manifest.ascending else now > last):
            raise ProofError("'received_at' goes back within the log", kind="time")
        if now < (manifest.start or now) or now > (manifest.end or now):
            raise ProofError("'received_at' is outside the export's time range", kind="time")

    # The whole

    def _begin_tree(self, manifest: Manifest) -> None:
        first, left = manifest.first_index, manifest.left
        if manifest.filtered or not manifest.ascending or first is None or left is None:
            return
        self._tree = merkle.RootBuilder()
        with self._noting:
            self._tree.append_range(left, first)

    def _check_end(self, manifest: Manifest) -> None:
        first, last, checkpoint = manifest.first_index, manifest.last_index, self._checkpoint
        if manifest.filtered:
            if self._lines != manifest.count:
                reason = f"{manifest.count} lines are announced, {self._lines} were read"
                self._note(ProofError(reason, kind="missing"))
        elif first is not None and last is not None:
            end = last if manifest.ascending else first
            if (end - self._next) * manifest.step >= 0:
                self._note_missing(self._next, end)
        elif checkpoint is not None and checkpoint.tree_size and not manifest.has_time_range:
            self._note_missing(0, checkpoint.tree_size - 1)
        with self._noting:
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
            self._verify_neighbour(neighbour, manifest)
        if before and not before.entry.received_at < (manifest.start or ""):
            raise ProofError("the entry before the time range belongs to it", kind="range")
        if after and not (manifest.end or "~") < after.entry.received_at:
            raise ProofError("the entry after the time range belongs to it", kind="range")

    def _verify_neighbour(self, neighbour: Neighbour, manifest: Manifest) -> None:
        if neighbour.entry.log_id != manifest.log_id:
            raise EventCorruptionError("an entry beside the time range is of another log")
        self._verify_inclusion(neighbour.index, neighbour.entry, neighbour.hashes)

    def _verify_inclusion(self, index: int, entry: Entry, proof: Sequence[bytes]) -> None:
        if self._checkpoint is not None:
            size, root = self._checkpoint.tree_size, self._checkpoint.root_hash
            merkle.verify_inclusion(index, size, entry.leaf_hash, proof, root)

    def _why_incomplete(self) -> str | None:
        manifest, checkpoint = self._manifest, self._checkpoint
        if self._findings or manifest is None or checkpoint is None:
            return "not everything could be verified"
        if manifest.filtered:
            return "a filtered export leaves events out"
        if not manifest.ascending:
            return "it is proved for ascending order only"
        if manifest.first_index is not None and not self._root_recomputed:
            return "the manifest has no 'boundary'"
        return None

    # Notes

    def _note(self, error: IntegrityError) -> None:
        index, line = self._at
        index = index if error.index is None else error.index
        finding = Finding(index, line, error.kind, error.args[0])
        if isinstance(error, UnverifiableError) and finding in self._findings:
            return  # one missing key is one finding, however often it is missed
        self._counts[error.kind] += 1
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(finding)

    def _note_missing(self, begin: int, end: int) -> None:
        first, last = min(begin, end), max(begin, end)
        which = "the event is" if first == last else f"the events {first} to {last} are"
        self._note(ProofError(f"{which} missing", index=first, kind="missing"))

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
            signatures_checked=self._signatures_checked,
            complete=reason is None,
            incomplete_reason=reason,
            findings=tuple(self._findings),
            counts=dict(self._counts),
        )
