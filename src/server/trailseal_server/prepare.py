"""One event, checked and committed to, ready to be appended: pure but for randomness and the clock.

Rules, in this order: a missing `id` is filled in with a UUIDv7; numbers and depth, in the one walk
that commits (commitments.py); the contract's schema; the checksum of what was sent; the seed; the
signature.
A signature is checked here if its key is enclosed, and against registered keys in admission.py.
"""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from . import commitments
from .commitments import EventError
from .problems import FieldError, Problem
from .store import micros
from .store.append import Draft
from .store.terms import Terms, derive

MAX_EVENT = 1 << 20  # bytes of JCS
MAX_SIGNATURE = 4096  # bytes of JSON; an entry, which holds it, must stay below 65,536
APART = frozenset({"seed", "signature", "checksum"})  # sent with an event, not a part of it

Event = dict[str, Any]
Validate = Callable[[Event], Sequence[FieldError]]
Derive = Callable[[commitments.Prepared, str, str | None], Terms]  # store/terms.py


@dataclass(frozen=True, slots=True)
class Origin:
    """What the server knows about a request: the key's id, the channel, when it was sent."""

    ingested_by: str
    channel_id: str | None = None
    sent_at: int | None = None
    imported: bool = False


def draft(
    sent: Event, validate: Validate, origin: Origin, at: str, derive: Derive = derive
) -> Draft:
    """The event as it will be stored; raises Problem with pointers that begin with `at`."""
    if not isinstance(sent, dict):
        raise problem("field_type", at, "must be an object", {})
    try:
        return _draft(sent, validate, origin, derive)
    except EventError as error:
        raise problem(error.code, at + error.pointer, error.detail, sent) from None
    except _Invalid as invalid:
        raise refusal(invalid.errors, sent, at) from None


def problem(code: str, pointer: str, detail: str, sent: Event) -> Problem:
    """A problem of one field of an event."""
    event_id = _id_of(sent)
    return Problem(
        code, f"{pointer} {detail}", errors=[FieldError(code, pointer, detail, event_id)]
    )


def _id_of(sent: Event) -> str | None:
    found = sent.get("id")
    return found if isinstance(found, str) else None


def refusal(errors: Sequence[FieldError], sent: Event, at: str) -> Problem:
    """The problem of an event with these errors: their one code, or `event_invalid`."""
    event_id = _id_of(sent)
    placed = [FieldError(e.code, at + e.pointer, e.detail, e.event_id or event_id) for e in errors]
    codes = {each.code for each in placed}
    code = codes.pop() if len(codes) == 1 else "event_invalid"
    return Problem(code, f"{placed[0].pointer} {placed[0].detail}", errors=placed)


class _Invalid(Exception):  # noqa: N818  # never leaves this module
    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = errors


def _draft(sent: Event, validate: Validate, origin: Origin, derive: Derive) -> Draft:
    event = sent
    if not sent.keys().isdisjoint(APART):
        event = {name: value for name, value in sent.items() if name not in APART}
        commitments.prepare({name: sent[name] for name in APART & sent.keys()})  # the same bounds
    if "id" not in event:
        event = {**event, "id": _uuid7()}
    prepared = commitments.prepare(event)
    if errors := validate(sent):
        raise _Invalid(errors)
    if len(prepared.body) > MAX_EVENT:
        raise EventError("event_too_large", "", f"must be at most {MAX_EVENT} bytes")
    if "checksum" in sent:
        _check_sum(sent, prepared.body)
    seed = commitments.decode_seed(sent["seed"]) if "seed" in sent else commitments.new_seed()
    committed = commitments.fields_hash(prepared, seed)
    if "signature" in sent:
        _check_signature(sent, committed)
    return Draft(  # by place: names cost as much as the rest of this function
        event["id"],
        prepared.body,
        committed,
        commitments.encode_seed(seed),
        sent.get("signature"),
        _occurred_at(event),
        origin.sent_at,
        origin.ingested_by,
        origin.channel_id,
        origin.imported,
        derive(prepared, origin.ingested_by, origin.channel_id),
    )


def _occurred_at(event: Event) -> int | None:
    if "occurred_at" not in event:
        return None
    try:
        return micros.parse(event["occurred_at"])
    except ValueError:
        advice = "must be RFC 3339 with an offset"
        raise EventError("event_invalid", "/occurred_at", advice) from None


def _check_sum(sent: Event, body: bytes) -> None:
    """It is over what was sent: without the id that was filled in."""
    if "id" not in sent:
        body = commitments.jcs({name: sent[name] for name in sent.keys() - APART})
    if sent["checksum"] != base64.b64encode(sha256(body).digest()).decode():
        raise EventError("checksum_mismatch", "/checksum", "does not match the event received")


def _check_signature(sent: Event, committed: str) -> None:
    signature = sent["signature"]
    if "id" not in sent or "seed" not in sent:
        raise EventError("signature_invalid", "/signature", "needs an id and a seed in the event")
    if len(commitments.jcs(signature)) > MAX_SIGNATURE:
        raise EventError("signature_invalid", "/signature", "is too large")
    if signature.get("algorithm") != "ed25519":
        raise EventError("signature_invalid", "/signature/algorithm", "must be ed25519")
    try:
        value = base64.b64decode(signature["value"], validate=True)
        if "public_key" in signature:
            raw = base64.b64decode(signature["public_key"], validate=True)
            message = commitments.signing_input(sent["id"], committed)
            Ed25519PublicKey.from_public_bytes(raw).verify(value, message)
    except (InvalidSignature, ValueError):
        advice = "is not this event's signature by that key"
        raise EventError("signature_invalid", "/signature", advice) from None


def _uuid7() -> str:
    """RFC 9562, section 5.7: 48 bits of milliseconds, then randomness."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(
        commitments.new_seed()[:10], "big"
    )
    number = number & ~(0xF << 76) | 0x7 << 76
    text = f"{number & ~(0x3 << 62) | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
