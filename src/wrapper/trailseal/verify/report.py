"""What verifying a bundle found, as frozen values.

1. A finding is one fault: where (index in the log, line of the file), which kind, and why.
2. Only a report without findings is a success. Evidence that something is wrong (1) outweighs
   input that is no bundle (3), which outweighs something missing (2).
3. Nothing here holds what an event says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .checkpoint import Checkpoint
from .errors import Faults, IntegrityError, MalformedError, UnverifiableError

MAX_FINDINGS = 100  # kept in a report; the rest is counted

VERIFIED, FAILED, COULD_NOT_VERIFY, BAD_INPUT = range(4)
_VERDICTS = ("verified", "FAILED", "could not verify", "bad input")

_UNVERIFIABLE = UnverifiableError.default_kind
_INPUT = "input"  # the path holds no bundle, or not one of a version that we read


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `index` is the event's index in its log, `line` counts from 1."""

    index: int | None
    line: int | None
    kind: str
    reason: str

    def __str__(self) -> str:
        where = [f"index {self.index}"] if self.index is not None else []
        where += [f"line {self.line}"] if self.line is not None else []
        return f"{self.kind}: {', '.join(where) + ': ' if where else ''}{self.reason}"


class Findings(Faults):
    """What a report is made of: an error that is appended is a finding at the place under check."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.at: tuple[int | None, int | None] = (None, None)  # index and line under check
        self.events = self.redacted = self.signed = self.checked = self.trusted = 0

    def append(self, error: IntegrityError) -> None:
        """Keep one error, or count it where there are many."""
        index, line = self.at
        index = index if error.index is None else error.index
        finding = Finding(index, line, error.kind, error.args[0])
        if isinstance(error, UnverifiableError) and finding in self.first:
            return  # one missing key is one finding, however often it is missed
        self.counts[error.kind] += 1
        if len(self.first) < MAX_FINDINGS:
            self.first.append(finding)

    def report(
        self, incomplete: str | None, at: Checkpoint | None = None, indexes: Sequence[int] = ()
    ) -> Report:
        """The report; `incomplete` says why completeness is not proved."""
        return Report(
            checkpoint=at,
            first_index=indexes[0] if indexes else None,
            last_index=indexes[-1] if indexes else None,
            events=self.events,
            redacted=self.redacted,
            signed=self.signed,
            signatures_checked=self.checked,
            signatures_trusted=self.trusted,
            complete=incomplete is None,
            incomplete_reason=incomplete,
            findings=tuple(self.first),
            counts=dict(self.counts),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Given to `on_progress`: lines read so far, and what the manifest says there are."""

    lines: int
    total: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one bundle.

    `complete` says that the bundle holds every event of its range; `incomplete_reason` says why
    that is not proved. `findings` are the first ones, `counts` counts all by their kind.
    """

    checkpoint: Checkpoint | None
    first_index: int | None
    last_index: int | None
    events: int  # lines read
    redacted: int  # events of which fields were redacted
    signed: int  # events with a client's signature
    signatures_checked: int  # those for which there was a public key
    signatures_trusted: int  # those of a key that was given; the rest enclosed theirs
    complete: bool
    incomplete_reason: str | None
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]

    @property
    def exit_code(self) -> int:
        """0 verified, 1 failed, 2 could not verify, 3 bad input."""
        if not self.counts:
            return VERIFIED
        if self.counts.keys() - {_UNVERIFIABLE, _INPUT}:
            return FAILED
        return BAD_INPUT if _INPUT in self.counts else COULD_NOT_VERIFY

    def raise_for_findings(self) -> None:
        """Raise for the first finding: `UnverifiableError`, `MalformedError` for no bundle, else
        `IntegrityError`; nothing where all was verified.
        """
        if self.counts:
            error = (IntegrityError, UnverifiableError, MalformedError)[self.exit_code - 1]
            first = self.findings[0]
            reason = f"{first.reason} ({_counted(sum(self.counts.values()), 'finding')})"
            raise error(reason, index=first.index, kind=first.kind)

    def to_dict(self) -> dict[str, object]:
        """The report in JSON's types, verdict and exit code first; hashes in hex."""
        told: dict[str, object] = {"verdict": _VERDICTS[self.exit_code]}
        told |= {"exit_code": self.exit_code, **asdict(self)}
        if (at := self.checkpoint) is not None:
            told["checkpoint"] = {**asdict(at), "root_hash": at.root_hash.hex()}
        return told

    def summary(self) -> list[str]:
        """A few lines for people, the verdict first."""
        lines = [_VERDICTS[self.exit_code]]
        if self.checkpoint is not None or self.events:
            lines[0] += f": {_counted(self.events, 'event')} read"
        if self.first_index is not None:
            lines[0] += f", indexes {self.first_index} to {self.last_index}"
        if self.checkpoint is not None:
            size = _counted(self.checkpoint.tree_size, "event")
            lines.append(f"checkpoint: {self.checkpoint.origin} at {size}")
        if self.complete:
            lines.append("complete: no event of the range is left out")
        elif not self.findings:  # which else say why
            lines.append(f"not proved complete: {self.incomplete_reason}")
        if self.redacted:
            told = "what stands in place of what was taken is the server's word"
            lines.append(f"redacted: {_counted(self.redacted, 'event')}; {told}")
        if self.signed:
            lines.append(self._signatures())
        lines += map(str, self.findings)
        if hidden := sum(self.counts.values()) - len(self.findings):
            lines.append(f"… and {_counted(hidden, 'more finding')}")
        return lines

    def _signatures(self) -> str:
        text = f"client signatures: {self.signatures_checked} of {self.signed} checked"
        if enclosed := self.signatures_checked - self.signatures_trusted:
            text += f", {enclosed} with the key that they enclose, which nobody vouches for"
        return text


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
