"""Event schemas in your own process: checked before anything is sent, with personal data held back.

    events = EventLogger(sinks=[client], policy=Policy(allow=["account"], method="hash", key=key))
    events.register(Path("schemas/invoice.deleted.yaml"))
    events.emit("com.example.invoice.deleted", {"invoice": "inv_1"}, actor="user_1")

- `Registry`: schemas by id and version; loading, checking, validating (the extra `[schemas]`).
- `schema`, `Field`: typed events, whose JSON Schema comes from their annotations.
- `Policy`: which classes of personal data may leave, and what becomes of the others.
- `EventLogger`: validates, redacts, processes, hands to sinks, tells listeners; in that order.

`client.schemas` is the same at the server; `trailseal schemas push` brings one to the other.
"""

from trailseal.schemas._listeners import Listener
from trailseal.schemas._load import SchemaSource
from trailseal.schemas._parts import Emitted, EventStats
from trailseal.schemas.logger import EventLogger
from trailseal.schemas.policy import Policy
from trailseal.schemas.registry import LocalSchema, Registry
from trailseal.schemas.typed import Field, document_of, schema

__all__ = [
    "Emitted",
    "EventLogger",
    "EventStats",
    "Field",
    "Listener",
    "LocalSchema",
    "Policy",
    "Registry",
    "SchemaSource",
    "document_of",
    "schema",
]
