"""Signing events before they are sent: what is signed; who signs is in `_signer`.

1. What is signed is a commitment to the event as it is sent, with its id and a seed; so a redacted
   event still verifies (integrity.md, steps 1-6).
2. What a signer raises becomes a `SigningError`, and the event is not sent.
3. An event that carries a signature already keeps it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from trailseal import _events
from trailseal._events import MAX_EVENT_BYTES, EventLike, Prepared, encode
from trailseal._signer import Ed25519Signer, Signer
from trailseal.errors import ErrorDetail, EventValidationError, SigningError

SEED_BYTES = 32
SIGNATURE_BYTES = 64
APART = frozenset({"seed", "signature", "checksum"})  # sent beside the event, not committed to


def is_local(signer: Signer | None) -> bool:
    """Whether signing takes microseconds: another's signer may wait for a network."""
    return signer is None or isinstance(signer, Ed25519Signer)


def prepare(
    event: EventLike,
    *,
    tenant: str | None = None,
    signer: Signer | None = None,
    seeds: bool = False,
    at: str = "",
) -> Prepared:
    """As `_events.prepare`, signed where there is a signer; with `seeds`, it has a seed anyway.

    Raises `EventValidationError`, and `SigningError` where the signer fails.
    """
    plain = _events.prepare(event, tenant=tenant, at=at)
    if signer is None and not seeds:
        return plain
    full = seeded(plain.event) if signer is None else sign(plain.event, signer)
    content = encode(full)
    if len(content) > MAX_EVENT_BYTES:
        text = f"has {len(content)} bytes with its signature, at most {MAX_EVENT_BYTES} are allowed"
        fault = ErrorDetail("event_too_large", at, text, plain.id)
        raise EventValidationError("The event is not valid.", errors=(fault,), code=fault.code)
    return Prepared(plain.id, full, content)


async def aprepare(
    event: EventLike, *, tenant: str | None, signer: Signer | None, seeds: bool
) -> Prepared:
    """The same; in a thread, where signing may wait for a network."""
    make = partial(prepare, event, tenant=tenant, signer=signer, seeds=seeds)
    if is_local(signer):
        return make()
    import asyncio  # noqa: PLC0415  # see `_flow.arun`

    return await asyncio.to_thread(make)


def sign(event: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """A copy of a complete, valid event with seed and signature; one that is signed stays.

    Raises `SigningError` where the signer fails, `MalformedError` where the event is no JSON.
    """
    if event.get("signature") is not None:
        return dict(event)
    sealed = seeded(event)
    message = _commitments().signing_input(event["id"], committed(sealed))
    try:
        value = signer.sign(message)
    except Exception as error:
        raise SigningError(f"The signer failed with {type(error).__name__}.") from error
    if not isinstance(value, bytes) or len(value) != SIGNATURE_BYTES:
        raise SigningError("The signer gave no Ed25519 signature of 64 bytes.")
    signature: dict[str, Any] = {"algorithm": "ed25519", "key_id": signer.key_id}
    signature["value"] = base64.b64encode(value).decode()
    if signer.public_key is not None:
        signature["public_key"] = base64.b64encode(signer.public_key).decode()
    if info := getattr(signer, "public_key_info", None):
        signature["public_key_info"] = dict(info)
    return {**sealed, "signature": signature}


def seeded(event: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with a seed: its own, or a new one."""
    if event.get("seed") is not None:
        return dict(event)
    seed = base64.urlsafe_b64encode(os.urandom(SEED_BYTES)).decode().rstrip("=")
    return {**event, "seed": seed}


def committed(event: Mapping[str, Any]) -> bytes:
    """`fields_hash` of an event with a seed."""
    bare = {name: value for name, value in event.items() if name not in APART}
    digest: bytes = _commitments().fields_hash(bare, event["seed"])
    return digest


def _commitments() -> Any:
    from trailseal.verify import commitments  # noqa: PLC0415  # it loads cryptography

    return commitments
