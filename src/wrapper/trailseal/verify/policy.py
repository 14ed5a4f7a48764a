"""A trust policy: the logs and the clients that an auditor trusts, in a TOML file.

    [logs]
    "log.example.com/org_789" = ["log.example.com/org_789+1029a297+AQOh…"]

    [signers]
    billing-2026 = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="

`logs` names, by its origin, each log and its verifier keys (several while keys are rotated);
`signers` the Ed25519 public keys of clients by `key_id`. There is nothing else: a member that is
not known is an error, because a misspelled one would trust less, or more, than was meant.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ._values import base64_bytes, member, optional
from .errors import MalformedError, UnverifiableError
from .note import VerifierKey

MAX_POLICY_BYTES = 1 << 20  # some thousand logs


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom to believe."""

    keys: tuple[VerifierKey, ...]
    signing_keys: Mapping[str, str]  # base64 by key_id

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrustPolicy:
        """Read a file; `UnverifiableError` where it cannot be read, `MalformedError` as `parse`."""
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_POLICY_BYTES + 1)
        except OSError as error:
            raise UnverifiableError(f"cannot read the trust policy: {error.strerror}") from None
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> TrustPolicy:
        """Read a policy's TOML; raises `MalformedError`."""
        if len(data) > MAX_POLICY_BYTES:
            raise MalformedError(f"a trust policy is longer than {MAX_POLICY_BYTES} bytes")
        try:
            raw = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise MalformedError(f"the trust policy is not TOML: {error}") from None
        if not raw.keys() <= {"logs", "signers"}:
            raise MalformedError("a trust policy holds [logs] and [signers] and nothing else")
        signers = optional(raw, "signers", dict) or {}
        for key_id in signers:
            base64_bytes(signers[key_id], 32, f"the key of signer {key_id!r}")
        logs = optional(raw, "logs", dict) or {}
        keys = [_key(origin, text) for origin in logs for text in member(logs, origin, list)]
        return cls(tuple(keys), signers)


def _key(origin: str, text: object) -> VerifierKey:
    key = VerifierKey.parse(text) if isinstance(text, str) else None
    if key is None or key.name != origin:
        raise MalformedError(f"a key of log {origin!r} must be a string that begins with its name")
    return key
