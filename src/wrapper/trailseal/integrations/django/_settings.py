"""`settings.TRAILSEAL`, all of it optional.

- `TRUSTED_PROXIES`: networks of the proxies whose X-Forwarded-For is believed.
- `REQUEST_ID_HEADER`: `X-Request-ID` if left out.
- `USER`: a function of a request, or its dotted name: the actor, if it is not `request.user`.
- `CLIENT`, `AUDIT`: keywords of `trailseal.Client` and `trailseal.Audit`; what they lack comes from
  the environment (`TRAILSEAL_URL`, `TRAILSEAL_API_KEY`, `TRAILSEAL_SPOOL_DIR`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from trailseal._audit import Audit
from trailseal.client import Client

NAMES = frozenset({"TRUSTED_PROXIES", "REQUEST_ID_HEADER", "USER", "CLIENT", "AUDIT"})


def given(name: str, default: Any = None) -> Any:
    """One of the settings; raises `ImproperlyConfigured` if there is an unknown one."""
    found: dict[str, Any] = getattr(settings, "TRAILSEAL", {})
    if unknown := sorted(found.keys() - NAMES):
        raise ImproperlyConfigured(f"TRAILSEAL: {unknown[0]!r} is none of {sorted(NAMES)}.")
    return found.get(name, default)


def user() -> Callable[[Any], Any] | None:
    """The function that finds the actor of a request, if there is one of the application's."""
    function: Any = given("USER")
    found: Callable[[Any], Any] | None
    found = import_string(function) if isinstance(function, str) else function
    return found


def client() -> Client:
    """A client by the settings."""
    return Client(**given("CLIENT", {}))


@lru_cache(maxsize=1)
def audit() -> Audit:
    """The `Audit` of this process, made by the settings at its first use.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    return Audit(client(), **given("AUDIT", {}))


def _forget(*, setting: str, **_: Any) -> None:
    """Tests change settings."""
    if setting == "TRAILSEAL" and audit.cache_info().currsize:
        audit().close()
        audit.cache_clear()


setting_changed.connect(_forget)
