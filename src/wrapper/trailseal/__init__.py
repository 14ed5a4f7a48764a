"""TrailSeal: audit logs that are never lost, findable and provable.

    import trailseal

    with trailseal.Client("http://127.0.0.1:8080", api_key="ts_…") as client:
        client.log("invoice.deleted", actor="user_1", resource=("invoice", "inv_1"))

Names load when they are first used (PEP 562): importing the package costs next to nothing.
Errors are in `trailseal.errors`, offline checks in `trailseal.verify`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trailseal import errors, verify
    from trailseal._async.pagers import AsyncPager, AsyncSearch
    from trailseal._audit import Audit
    from trailseal._blocking.pagers import Pager, Search
    from trailseal._context import context
    from trailseal._downloaded import Download, DownloadedFile
    from trailseal._events import Actor, EventFields, Resource
    from trailseal._filters import Filters
    from trailseal._models import (
        ActorRecord,
        Caller,
        Checkpoint,
        ConsistencyProof,
        Erasure,
        Event,
        Export,
        InclusionProof,
        LegalHold,
        Operation,
        Page,
        Progress,
        Receipt,
        RedactionPolicy,
        ResourceRecord,
        Schema,
        Usage,
        Verdict,
        VerificationKey,
    )
    from trailseal._results import BatchItem, BatchResult, UnreadFailuresWarning
    from trailseal._signer import Ed25519Signer, Signer
    from trailseal.async_client import AsyncClient
    from trailseal.client import Client
    from trailseal.errors import TrailSealError

_HOMES = {
    "_async.pagers": ["AsyncPager", "AsyncSearch"],
    "_audit": ["Audit"],
    "_blocking.pagers": ["Pager", "Search"],
    "_context": ["context"],
    "_downloaded": ["Download", "DownloadedFile"],
    "_events": ["Actor", "EventFields", "Resource"],
    "_filters": ["Filters"],
    "_models": [
        "ActorRecord",
        "Caller",
        "Checkpoint",
        "ConsistencyProof",
        "Erasure",
        "Event",
        "Export",
        "InclusionProof",
        "LegalHold",
        "Operation",
        "Page",
        "Progress",
        "Receipt",
        "RedactionPolicy",
        "ResourceRecord",
        "Schema",
        "Usage",
        "Verdict",
        "VerificationKey",
    ],
    "_results": ["BatchItem", "BatchResult", "UnreadFailuresWarning"],
    "_signer": ["Ed25519Signer", "Signer"],
    "async_client": ["AsyncClient"],
    "client": ["Client"],
    "errors": ["TrailSealError"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = frozenset({"errors", "verify"})

__all__ = [
    "Actor",
    "ActorRecord",
    "AsyncClient",
    "AsyncPager",
    "AsyncSearch",
    "Audit",
    "BatchItem",
    "BatchResult",
    "Caller",
    "Checkpoint",
    "Client",
    "ConsistencyProof",
    "Download",
    "DownloadedFile",
    "Ed25519Signer",
    "Erasure",
    "Event",
    "EventFields",
    "Export",
    "Filters",
    "InclusionProof",
    "LegalHold",
    "Operation",
    "Page",
    "Pager",
    "Progress",
    "Receipt",
    "RedactionPolicy",
    "Resource",
    "ResourceRecord",
    "Schema",
    "Search",
    "Signer",
    "TrailSealError",
    "UnreadFailuresWarning",
    "Usage",
    "Verdict",
    "VerificationKey",
    "context",
    "errors",
    "verify",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
