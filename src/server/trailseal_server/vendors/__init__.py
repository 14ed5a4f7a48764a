"""Other vendors' payloads as events: one small module for each vendor.

Rules:
- A module has `records(payload)`, the list inside whatever the vendor wraps it in, and
  `event(record, headers)`, the event that a record means; it raises `Problem` for a record that
  breaks the vendor's own rules. Both are pure.
- The record is kept whole under `data`. What is lifted out of it is cut to the contract's limits
  there (`text`), and left out where it has the wrong form; nothing is lost, and nothing invented.
- The event's id comes from the record's own id, else, if the record tells its time, from its
  content: a repeated delivery is a duplicate. A record with neither is new each time.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..problems import Problem
from . import auth0, cloudtrail, generic, github
from .shapes import Event, tidy

MODULES: dict[str, ModuleType] = {
    "auth0": auth0,
    "github": github,
    "cloudtrail": cloudtrail,
    "generic": generic,
}


def events(source: str, payload: Any, headers: Mapping[str, str]) -> list[Event | Problem]:
    """One event for each record of a vendor's payload, in order, or what is wrong with it."""
    module = MODULES[source]
    return [_event(module, record, headers) for record in module.records(payload)]


def _event(module: ModuleType, record: Any, headers: Mapping[str, str]) -> Event | Problem:
    try:
        event: Event = module.event(record, headers) if isinstance(record, dict) else {}
    except Problem as problem:
        return problem
    return {**tidy(event), "data": event.get("data", record)}
