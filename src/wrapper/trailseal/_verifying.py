"""Verification on the way: receipts, records and checkpoints, as they pass, on what was received.

1. A receipt is held against what was sent: the event's commitment, the entry that holds it, the
   entry's place in the log, the signature of the log.
2. Of a page every record gets its `verdict`. A bad one is a finding, and the others are handed out.
3. Each checkpoint that passes must continue the last one seen of its log (`_remember`). One that
   does not is a `CheckpointForkError`, and is never remembered.
4. What is proved is what the holders of the trusted keys signed. Keys that the server names itself
   only show that its words agree.

Nothing here is imported before something is verified: it loads cryptography.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trailseal._events import Prepared
from trailseal._flow import Flow
from trailseal._models import Event, Page, Receipt, Verdict
from trailseal._operations import consistency_proof, get
from trailseal._remember import Memory
from trailseal._signing import APART
from trailseal.config import Settings
from trailseal.errors import (
    CheckpointForkError,
    IntegrityError,
    NotFoundError,
    RequestError,
    UnverifiableError,
)
from trailseal.verify import Checkpoint, Report, Verifier
from trailseal.verify.errors import MalformedError
from trailseal.verify.report import Findings

SEALED_TRIES = 5  # looks for a checkpoint over a new event, which servers make once a second
SEALED_PAUSE = 1.0  # seconds between them
MAX_RACES = 100  # times that other processes were faster in remembering: more is a fault of ours


class Verification:
    """What was checked of a list so far; `report` sums it up, and raises nothing by itself."""

    def __init__(self) -> None:
        self._findings = Findings()
        self._events = self._signed = self._trusted = self._redacted = 0

    def check(self, verifier: Verifier, event: Event) -> Verdict:
        """Check one record and note what came out."""
        self._events += 1
        index = event.raw.get("index")
        self._findings.at = (index if type(index) is int else None, self._events)
        error: IntegrityError | None = None
        trusted: bool | None = None
        try:
            trusted = verifier.check_record(event.raw)
        except IntegrityError as fault:
            error = fault
            self._findings.append(fault)
        self._redacted += event.raw.get("salts") is not None
        self._signed += event.raw.get("signature") is not None
        self._trusted += trusted is True
        return Verdict(error, trusted)

    @property
    def report(self) -> Report:
        """All that was found, as `Verifier.verify_records` would say it."""
        return Report(
            checkpoint=None,
            first_index=None,
            last_index=None,
            events=self._events,
            redacted=self._redacted,
            signed=self._signed,
            signatures_checked=self._signed,
            signatures_trusted=self._trusted,
            complete=False,
            incomplete_reason="each event was checked by itself",
            findings=tuple(self._findings.first),
            counts=dict(self._findings.counts),
        )


def check_page(verifier: Verifier, page: Page, verification: Verification) -> list[str]:
    """Give each event its verdict; the distinct checkpoints of good ones, to be remembered."""
    notes: dict[str, None] = {}
    page.verified = page.items
    for event in page.verified:
        event.verdict = verification.check(verifier, event)
        if event.verdict.error is None:
            notes[event.raw["proof"]["signed_note"]] = None
    return list(notes)


def check_event(verifier: Verifier, event: Event) -> list[str]:
    """Check a single record, and raise; its checkpoint, to be remembered."""
    event.verdict = Verdict(None, verifier.check_record(event.raw))
    return [event.raw["proof"]["signed_note"]]


def check_receipt(verifier: Verifier, sent: Prepared, receipt: Receipt) -> list[str]:
    """Hold a receipt with its proof against the event as it was sent; its checkpoint.

    Raises an `IntegrityError`, of which `subject` is the receipt: the event is logged.
    """
    event = {name: value for name, value in sent.event.items() if name not in APART}
    try:
        verifier.verify_sent(receipt.raw, event, sent.event)
    except IntegrityError as error:
        receipt.verdict = Verdict(error, None)
        error.subject = receipt
        raise
    receipt.verdict = Verdict(None, None)
    return [receipt.raw["proof"]["signed_note"]]


def proved(settings: Settings, receipt: Receipt) -> Flow[Receipt]:
    """A receipt with its proof: as it is, or completed from the record when that is sealed."""
    raw: Mapping[str, Any] = receipt.raw
    for attempt in range(SEALED_TRIES + 1):
        if raw.get("proof") is not None and raw.get("entry") is not None:
            return receipt if attempt == 0 else _completed(receipt, raw)
        if attempt < SEALED_TRIES:
            event = yield from get(
                settings,
                receipt.event_id,
                log_id=receipt.log_id,
                include_proof=True,
                after=SEALED_PAUSE if attempt else 0.0,
            )
            raw = event.raw
    error = UnverifiableError("the event is logged, but no checkpoint covers it yet")
    error.index, error.subject = receipt.index, receipt
    raise error


def _completed(receipt: Receipt, record: Mapping[str, Any]) -> Receipt:
    more = {name: record[name] for name in ("entry", "seed", "proof") if record.get(name)}
    return Receipt({**receipt.raw, **more})


def take(
    settings: Settings, verifier: Verifier, memory: Memory, note: str, *, latest: bool = False
) -> Flow[Checkpoint]:
    """Check that a checkpoint continues the one remembered (or precedes it), and remember it.

    With `latest` the server says that it is its newest, so that it may not be smaller. Raises
    `CheckpointForkError`, and as `Verifier.verify_checkpoint`.
    """
    new = verifier.open_checkpoint(note)
    for _ in range(MAX_RACES):
        known = memory.get(new.origin)
        if known == note:
            return new
        old = None if known is None else verifier.open_checkpoint(known)
        if old is None or known is None:
            if memory.replace(new.origin, None, note):
                return new
            continue
        if latest and new.tree_size < old.tree_size:
            sizes = f"{new.tree_size} events, and had {old.tree_size}"
            raise CheckpointForkError(f"the log's newest checkpoint has {sizes}")
        first, second = (known, note) if old.tree_size <= new.tree_size else (note, known)
        yield from continues(settings, verifier, first, second)
        if new.tree_size <= old.tree_size or memory.replace(new.origin, known, note):
            return new
    raise UnverifiableError("the remembered checkpoint changes all the time")


def continues(settings: Settings, verifier: Verifier, first: str, second: str) -> Flow[None]:
    """Check that the checkpoint `second` continues `first`, with the server's proof.

    Raises `CheckpointForkError`: a server that cannot prove it is no excuse.
    """
    old, new = verifier.open_checkpoint(first), verifier.open_checkpoint(second)
    hashes: Iterable[str] = ()
    if 0 < old.tree_size < new.tree_size and old.origin == new.origin:
        sizes = old.tree_size, new.tree_size
        try:
            proof = yield from consistency_proof(settings, *sizes, log_id=new.log_id)
        except (NotFoundError, RequestError):
            reason = f"the server has no proof that {sizes[1]} events continue the first {sizes[0]}"
            raise CheckpointForkError(reason) from None
        found = proof.raw.get("hashes")
        if not isinstance(found, list):
            raise MalformedError("the answer holds no consistency proof")
        hashes = found
    verifier.verify_consistency(first, second, hashes)
