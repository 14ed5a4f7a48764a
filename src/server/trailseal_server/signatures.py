"""Clients' signatures, against the keys that are registered for a log.

Rules:
- A registered key is found by `key_id`. It must be valid now, by the server's clock (a client could
  write any `occurred_at`), and not revoked, unless the log holds the event already: then nothing
  new is stored, and whoever repeats it must get the first receipt.
- A key that is not registered must be enclosed; prepare.py has verified that one. It says that the
  event was signed, not by whom.
- An enclosed key under a registered id must be the registered one.
- Keys, and that there is none, are remembered for `REMEMBER_S`; what this process changes takes
  effect at once (`forget`).
"""

import base64
import threading
import time
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .auth import Caller
from .commitments import signing_input
from .problems import FieldError, Problem
from .store import Store, listings, micros, signing_keys
from .store.signing_keys import SigningKey
from .targets import Target, find_log

REMEMBER_S = 5.0  # as long as API keys: a revocation by another process takes so long
MAX_REMEMBERED = 10_000  # beyond it the oldest is forgotten

_Place = tuple[str | None, Target, str]  # the caller's tenant, the log, the key's id


class Signatures:
    """Checks signatures against the registered keys of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: dict[_Place, tuple[float, SigningKey | None]] = {}
        self._lock = threading.Lock()

    def errors(
        self, caller: Caller, target: Target, event: dict[str, Any], committed: str
    ) -> list[FieldError]:
        """What is wrong with the signature of a signed event whose `fields_hash` is `committed`."""
        signature = event["signature"]
        key = self._key(caller, target, signature["key_id"])
        enclosed = signature.get("public_key")
        if key is None:
            if enclosed is not None:
                return []
            return _wrong("/key_id", "is not registered for this log; register it or enclose it")
        why = _out_of_force(key, micros.now())
        if why and not self._stored(caller, target, event["id"]):
            return _wrong("/key_id", why)
        if enclosed is None:
            return _verify(key, event, committed)
        same = base64.b64decode(enclosed) == key.public_key  # verified by prepare.py
        return [] if same else _wrong("/public_key", "is not the key registered under this id")

    def _stored(self, caller: Caller, target: Target, event_id: str) -> bool:
        with self._store.read() as connection:
            try:
                log_id = find_log(connection, caller, target).log_id
                listings.find_event(connection, log_id, event_id=event_id)
            except Problem:
                return False
        return True

    def forget(self, key_id: str) -> None:
        """Read this key again at its next use: it was changed."""
        with self._lock:
            for place in [each for each in self._remembered if each[2] == key_id]:
                del self._remembered[place]

    def _key(self, caller: Caller, target: Target, key_id: str) -> SigningKey | None:
        place = (caller.tenant_id, target, key_id)
        until, key = self._remembered.get(place, (0.0, None))
        if until < time.monotonic():
            key = self._read(caller, target, key_id)
            with self._lock:
                self._remembered.pop(place, None)
                while len(self._remembered) >= MAX_REMEMBERED:
                    self._remembered.pop(next(iter(self._remembered)))
                self._remembered[place] = (time.monotonic() + REMEMBER_S, key)
        return key

    def _read(self, caller: Caller, target: Target, key_id: str) -> SigningKey | None:
        with self._store.read() as connection:
            try:
                log_id = find_log(connection, caller, target).log_id
            except Problem:
                return None  # no such log yet, or another tenant's: it has no keys for this caller
            return signing_keys.find(connection, log_id, key_id)


def _out_of_force(key: SigningKey, now: int) -> str | None:
    if key.revoked_at is not None:
        return "was revoked"
    if now < key.valid_from:
        return "is not valid yet"
    return "has expired" if key.valid_to is not None and now > key.valid_to else None


def _verify(key: SigningKey, event: dict[str, Any], committed: str) -> list[FieldError]:
    value = base64.b64decode(event["signature"]["value"])
    try:
        message = signing_input(event["id"], committed)
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(value, message)
    except InvalidSignature:
        return _wrong("/value", "is not this event's signature by that key")
    return []


def _wrong(below: str, detail: str) -> list[FieldError]:
    return [FieldError("signature_invalid", f"/signature{below}", detail)]
