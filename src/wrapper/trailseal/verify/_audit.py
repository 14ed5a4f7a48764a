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

from . import merkle
from ._workers import check_lines, sensible_processes
from .bundle import Files, Manifest, read_sidecar
from .checkpoint import Checkpoint
from .content import Content
from .errors import CheckpointForkError, ProofError, UnverifiableError
from .line import Checked, Expected
from .note import Note, VerifierKey
from .report import Findings, Progress

MAX_SURPLUS_LINES = 1000  # beyond the manifest's count: enough to name them, too few to stall
PROGRESS_EVERY = 1000  # lines


class Audit:
    """One pass over one bundle: make one, call `run` once, ask `why_incomplete`."""

    def __init__(
        self, files: Files, keys: Sequence[VerifierKey], signing_keys: Mapping[str, str]
    ) -> None:
        data = read_sidecar(files.manifest)
        self.manifest = Manifest.parse(data)
        self.checkpoint: Checkpoint | None = None
        self._digest = hashlib.sha256(data).hexdigest()
        self._files = files
        self._keys = keys
        self._signing_keys = signing_keys
        self._tree: merkle.RootBuilder | None = None  # where the root is to be recomputed
        self._root_recomputed = False
        self._next = next(iter(self.manifest.in_order), 0)  # the index that the next line has
        self._last_received_at = ""

    def run(
        self, findings: Findings, processes: int | None, on_progress: Callable[[Progress], object]
    ) -> None:
        """Check everything, and note what is wrong."""
        self._findings = findings
        with findings:
            self._check_manifest()
        with findings:
            self._check_checkpoint()
        self._begin_tree()
        self._check_content(processes or sensible_processes(self.manifest.size), on_progress)
        self._check_end()
        with findings:
            self._check_root()
        with findings:
            self._check_time_range()

    def why_incomplete(self) -> str | None:
        """Why it is not proved that no event of the range is left out; None where it is."""
        manifest = self.manifest
        if self._findings.first:
            return "not everything could be verified"
        if manifest.filtered:
            return (
                "a filtered export shows that its events are in the log, not that it has them all"
            )
        if not manifest.ascending:
            return "it is proved for ascending order only"
        if manifest.indexes and not self._root_recomputed:
            return "the manifest has no 'boundary'"
        return None

    # Who says it

    def _check_manifest(self) -> None:
        origin = self.manifest.origin
        note = Note.parse(read_sidecar(self._files.manifest_note))
        if note.text != f"trailseal/manifest/v1\n{origin}\n{self._digest}\n":
            raise ProofError("the manifest is not the one that was signed", kind="manifest")
        note.verify(self._keys, origin)

    def _check_checkpoint(self) -> None:
        manifest = self.manifest
        if manifest.checkpoint is None:
            raise UnverifiableError("the log had no checkpoint when it was exported")
        note = Note.parse(manifest.checkpoint)
        ours = Checkpoint.parse(note.text)
        if (ours.origin, ours.log_id) != (manifest.origin, manifest.log_id):
            raise ProofError("the checkpoint is of another log than the manifest", kind="origin")
        self.checkpoint = ours
        with self._findings:
            note.verify(self._keys, ours.origin)
        beside = read_sidecar(self._files.checkpoint)
        if beside == manifest.checkpoint.encode():
            return
        note = Note.parse(beside)
        other = Checkpoint.parse(note.text)
        with suppress(UnverifiableError):  # without a key, that it differs is wrong enough
            note.verify(self._keys, other.origin)
        if (other.origin, other.tree_size) == (ours.origin, ours.tree_size) and (
            other.root_hash != ours.root_hash
        ):
            raise CheckpointForkError(f"the log has two roots for {ours.tree_size} events")
        raise ProofError("the checkpoint file is not the manifest's", kind="checkpoint")

    # The lines

    def _check_content(self, processes: int, on_progress: Callable[[Progress], object]) -> None:
        manifest, findings = self.manifest, self._findings
        most = manifest.count + MAX_SURPLUS_LINES
        expected = Expected(
            log_id=manifest.log_id,
            tree_size=self.checkpoint.tree_size if self.checkpoint else 0,
            root_hash=self.checkpoint.root_hash if self.checkpoint else None,
            in_tree=self._tree is not None,
            start=manifest.start,
            end=manifest.end,
            signing_keys=self._signing_keys,
        )
        with self._files.open_content() as file:
            content = Content(file, compressed=manifest.compressed)
            lines = content.lines()
            for line in check_lines(islice(lines, most), expected, processes):
                findings.events += 1
                findings.at = (self._next, findings.events)
                with findings:
                    self._take_line(line)
                if findings.events % PROGRESS_EVERY == 0:
                    on_progress(Progress(findings.events, manifest.count))
            findings.at = (None, None)
            with findings:
                if findings.events == most and any(True for _ in lines):
                    raise ProofError("many more lines than announced", kind="content")
            with findings:
                content.check(manifest.size, manifest.sha256)
        on_progress(Progress(findings.events, manifest.count))

    def _take_line(self, line: Checked) -> None:
        manifest, findings = self.manifest, self._findings
        if line.at is None:
            self._next += 0 if manifest.filtered else manifest.step  # it stood for this index
            raise line.faults[0]
        findings.at = (line.at, findings.events)
        if line.at not in manifest.indexes:
            raise ProofError("the index is outside the manifest's range", kind="order")
        if (line.at - self._next) * manifest.step < 0:
            raise ProofError("the line comes twice or out of order", kind="order")
        self._go_to(line.at)
        self._next += manifest.step
        for fault in line.faults:
            findings.append(fault)
        if line.leaf_hash is None:
            return
        if self._tree is not None and self._tree.size == line.at:
            self._tree.append(line.leaf_hash)
        findings.redacted += line.redacted
        findings.signed += line.signed
        findings.checked += line.trusted is not None
        findings.trusted += line.trusted is True
        last, now = self._last_received_at, line.received_at
        self._last_received_at = now
        if last and (now < last if manifest.ascending else now > last):
            raise ProofError("'received_at' goes back within the log", kind="time")

    def _go_to(self, index: int) -> None:
        """Expect `index` next; what should have come before it is missing."""
        step = self.manifest.step
        if (index - self._next) * step > 0:
            self._miss(*sorted((self._next, index - step)))
        self._next = index

    def _miss(self, first: int, last: int) -> None:
        if not self.manifest.filtered:
            which = "the event is" if first == last else f"the events {first} to {last} are"
            self._findings.append(ProofError(f"{which} missing", index=first, kind="missing"))

    # The whole

    def _begin_tree(self) -> None:
        manifest = self.manifest
        if manifest.filtered or not manifest.ascending or manifest.left is None:
            return  # each line has to bring its own proof
        if manifest.indexes:
            self._tree = merkle.RootBuilder()
            with self._findings:
                self._tree.append_range(manifest.left, manifest.indexes[0])

    def _check_end(self) -> None:
        manifest, checkpoint, lines = self.manifest, self.checkpoint, self._findings.events
        if manifest.filtered and lines != manifest.count:
            reason = f"{manifest.count} lines are announced, {lines} were read"
            self._findings.append(ProofError(reason, kind="missing"))
        if manifest.indexes:
            self._go_to(manifest.in_order[-1] + manifest.step)
        elif checkpoint is not None and checkpoint.tree_size and not manifest.has_time_range:
            self._miss(0, checkpoint.tree_size - 1)

    def _check_root(self) -> None:
        tree, checkpoint = self._tree, self.checkpoint
        if tree is None:
            return
        if checkpoint is None or tree.size != self.manifest.indexes[-1] + 1:
            reason = "not all entries could be read, so the checkpoint's root proves none of them"
            raise UnverifiableError(reason)
        tree.append_range(self.manifest.right or [], checkpoint.tree_size)
        if tree.root() != checkpoint.root_hash:
            reason = "the entries do not give the checkpoint's root: one or more is not the log's"
            raise ProofError(reason, kind="root")
        self._root_recomputed = True

    def _check_time_range(self) -> None:
        manifest, checkpoint = self.manifest, self.checkpoint
        if manifest.filtered or not manifest.has_time_range or checkpoint is None:
            return
        before, after = manifest.before, manifest.after
        below = before.index if before else -1
        above = after.index if after else checkpoint.tree_size
        indexes = manifest.indexes
        first, last = (indexes[0], indexes[-1]) if indexes else (above, below)
        if (manifest.start and below + 1 != first) or (manifest.end and above - 1 != last):
            raise ProofError("the entries named beside the time range are not", kind="range")
        for neighbour in filter(None, (before, after)):
            checkpoint.verify_inclusion(
                neighbour.index, neighbour.entry.log_id, neighbour.entry.leaf_hash, neighbour.hashes
            )
        if before and not before.entry.received_at < (manifest.start or ""):
            raise ProofError("the entry before the time range belongs to it", kind="range")
        if after and not (manifest.end or "~") < after.entry.received_at:
            raise ProofError("the entry after the time range belongs to it", kind="range")
