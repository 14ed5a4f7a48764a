"""Who is asking: API keys, and the caller that a key stands for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key, as every handler sees it; never the key's secret.

    `key_id` is `key_<id>`. A key with a `tenant_id` reaches that tenant's own logs only.
    `default_log` is the log of requests that name none.
    """

    key_id: str
    tenant_id: str | None
    default_log: str | None
    scopes: frozenset[str]
