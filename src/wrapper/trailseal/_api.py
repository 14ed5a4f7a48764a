"""The operations of the generated layer that flows name, each loaded when it is first used.

All of them would cost a quarter of what else there is to import, and most programs use few.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trailseal_api.api.account import get_caller, get_usage
    from trailseal_api.api.erasures import (
        create_erasure,
        create_legal_hold,
        list_erasures,
        list_legal_holds,
        redact_event,
        release_legal_hold,
    )
    from trailseal_api.api.events import (
        create_event,
        create_events,
        create_events_async,
        get_event,
        ingest_payload,
        list_events,
    )
    from trailseal_api.api.exports import (
        create_export,
        download_export,
        get_export,
        get_export_manifest,
    )
    from trailseal_api.api.keys import create_verification_key, list_verification_keys
    from trailseal_api.api.logs import (
        get_checkpoint,
        get_consistency_proof,
        get_inclusion_proof,
        get_latest_checkpoint,
        seal_log,
    )
    from trailseal_api.api.operations import cancel_operation, get_operation
    from trailseal_api.api.policies import get_redaction_policy, update_redaction_policy
    from trailseal_api.api.schemas import create_schema, list_schemas, validate_schema
    from trailseal_api.api.searches import create_search, list_search_results
    from trailseal_api.api.uploads import complete_upload, create_upload, upload_content

_NAMES = {
    "account": "get_caller get_usage",
    "erasures": "create_erasure create_legal_hold list_erasures list_legal_holds redact_event"
    " release_legal_hold",
    "events": "create_event create_events create_events_async get_event ingest_payload list_events",
    "exports": "create_export download_export get_export get_export_manifest",
    "keys": "create_verification_key list_verification_keys",
    "logs": "get_checkpoint get_consistency_proof get_inclusion_proof get_latest_checkpoint"
    " seal_log",
    "operations": "cancel_operation get_operation",
    "policies": "get_redaction_policy update_redaction_policy",
    "schemas": "create_schema list_schemas validate_schema",
    "searches": "create_search list_search_results",
    "uploads": "complete_upload create_upload upload_content",
}
_HOMES = {name: tag for tag, names in _NAMES.items() for name in names.split()}

__all__ = [
    "cancel_operation",
    "complete_upload",
    "create_erasure",
    "create_event",
    "create_events",
    "create_events_async",
    "create_export",
    "create_legal_hold",
    "create_schema",
    "create_search",
    "create_upload",
    "create_verification_key",
    "download_export",
    "get_caller",
    "get_checkpoint",
    "get_consistency_proof",
    "get_event",
    "get_export",
    "get_export_manifest",
    "get_inclusion_proof",
    "get_latest_checkpoint",
    "get_operation",
    "get_redaction_policy",
    "get_usage",
    "ingest_payload",
    "list_erasures",
    "list_events",
    "list_legal_holds",
    "list_schemas",
    "list_search_results",
    "list_verification_keys",
    "redact_event",
    "release_legal_hold",
    "seal_log",
    "update_redaction_policy",
    "upload_content",
    "validate_schema",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"trailseal_api.api.{_HOMES[name]}.{name}")
    globals()[name] = module
    return module
