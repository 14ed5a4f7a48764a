"""Checks a TrailSeal log offline: events, proofs, checkpoints and exports.

This package stands alone, so that an auditor can read all of it: it imports nothing else of
TrailSeal, only the standard library, `cryptography`, `rfc8785` and, where installed, `orjson` and
`nacl`.

    from trailseal.verify import Verifier

    report = Verifier(keys=["log.example.com/org_789+1029a297+AQOh…"]).verify_bundle("audit.jsonl")
    report.raise_for_findings()

Names load when they are first used: `trailseal.verify.errors` costs no cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, open_checkpoint
    from .errors import (
        CheckpointForkError,
        EventCorruptionError,
        IntegrityError,
        MalformedError,
        ProofError,
        TrailSealError,
        UnverifiableError,
    )
    from .note import Note, VerifierKey
    from .policy import TrustPolicy
    from .report import Finding, Progress, Report
    from .verifier import Verifier

_MODULES = ("errors", "note", "checkpoint", "policy", "report", "verifier")  # the cheapest first

__all__ = [
    "Checkpoint",
    "CheckpointForkError",
    "EventCorruptionError",
    "Finding",
    "IntegrityError",
    "MalformedError",
    "Note",
    "Progress",
    "ProofError",
    "Report",
    "TrailSealError",
    "TrustPolicy",
    "UnverifiableError",
    "Verifier",
    "VerifierKey",
    "open_checkpoint",
]


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        found: object = getattr(import_module(f".{module}", __name__), name, None)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
