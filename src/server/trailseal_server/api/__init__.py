"""HTTP in, HTTP out: one function for each operation of the contract, and no SQL.

Importing this package registers every function (`contract.operation`).
"""

from . import (
    account,
    api_keys,
    batches,
    channels,
    erasures,
    events,
    exports,
    health,
    keys,
    logs,
    operations,
    policies,
    schemas,
    searches,
    tenants,
    tlog,
    uploads,
)

__all__ = [
    "account",
    "api_keys",
    "batches",
    "channels",
    "erasures",
    "events",
    "exports",
    "health",
    "keys",
    "logs",
    "operations",
    "policies",
    "schemas",
    "searches",
    "tenants",
    "tlog",
    "uploads",
]
