"""Log entries: the data of a leaf, JCS of what the log says about one event.

The exact text that the server stored is what is hashed; nobody writes it again in order to hash
it. An entry holds hashes, ids and a time, and of the event its id alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from . import merkle
from ._values import member, optional, sha256_hex
from .canonical import loads
from .commitments import fields_hash, redacted_fields_hash, verify_signature
from .errors import EventCorruptionError, MalformedError, UnverifiableError

MAX_ENTRY_BYTES = 65_535  # C2SP tlog-tiles writes a length in 16 bits

_RECEIVED_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_REQUIRED = frozenset({"v", "log_id", "id", "received_at", "ingested_by", "fields_hash"})
_ALLOWED = _REQUIRED | {"channel_id", "imported", "signature"}


class Entry(NamedTuple):
    """A parsed entry; `text` is its exact text."""

    text: str
    log_id: str
    id: str
    received_at: str  # six decimals and Z, so that its order as text is its order in time
    ingested_by: str
    fields_hash: bytes
    channel_id: str | None
    imported: bool | None
    signature: Mapping[str, object] | None

    @property
    def leaf_hash(self) -> bytes:
        """The hash of the leaf that holds this entry."""
        return merkle.leaf_hash(self.text.encode())

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Read an entry, strictly; raises `MalformedError`."""
        if len(text.encode(errors="surrogatepass")) > MAX_ENTRY_BYTES:
            raise MalformedError(f"an entry is longer than {MAX_ENTRY_BYTES} bytes")
        raw = loads(text)
        if not isinstance(raw, dict):
            raise MalformedError("an entry must be an object")
        if not _REQUIRED <= raw.keys() <= _ALLOWED:
            raise MalformedError("an entry has a member too many or too few")
        if member(raw, "v", int) != 1:
            raise MalformedError("an entry is not of version 1")
        received_at = member(raw, "received_at", str)
        if not _RECEIVED_AT.fullmatch(received_at):
            raise MalformedError("'received_at' must have six decimals and end with Z")
        return cls(
            text,
            member(raw, "log_id", str),
            member(raw, "id", str),
            received_at,
            member(raw, "ingested_by", str),
            sha256_hex(raw["fields_hash"], "'fields_hash'"),
            optional(raw, "channel_id", str),
            optional(raw, "imported", bool),
            optional(raw, "signature", dict),
        )

    def check_event(self, event: Mapping[str, object], commitments: Mapping[str, object]) -> None:
        """Raise unless `event` is the one that this entry commits to.

        `commitments` holds `seed`, or `salts` and `redactions`. Raises `EventCorruptionError`,
        `MalformedError`, or `UnverifiableError` where there is neither.
        """
        if event.get("id") != self.id:
            raise EventCorruptionError("its id is not the one in its entry")
        seed, salts = optional(commitments, "seed", str), optional(commitments, "salts", list)
        redactions = optional(commitments, "redactions", list) or []
        if salts is not None and seed is None:
            committed = redacted_fields_hash(event, salts, redactions)
        elif seed is not None and salts is None and not redactions:
            committed = fields_hash(event, seed)
        elif seed is None:
            raise UnverifiableError("it comes with neither 'seed' nor 'salts'")
        else:
            raise MalformedError("it has a 'seed' beside 'salts' or 'redactions'")
        if committed != self.fields_hash:
            raise EventCorruptionError("its content is not what was logged (fields_hash differs)")

    def check_signature(self, signing_keys: Mapping[str, str]) -> bool | None:
        """Check the client's signature, with the key given for its `key_id` if there is one, else
        with the key that it encloses.

        True where it was a key given, False an enclosed one (whoever holds that signed), None where
        there is no signature or no key. Raises `ProofError` where the signature is wrong.
        """
        if self.signature is None:
            return None
        given = signing_keys.get(member(self.signature, "key_id", str))
        key = optional(self.signature, "public_key", str) if given is None else given
        if key is None:
            return None
        verify_signature(self.signature, self.id, self.fields_hash, key)
        return given is not None
