"""Checking and encoding many events at once: half the cost of one after the other.

What is written is the same. An event that is not right for sure, or large, sends all of them back
for a look at each (`_events.ready`, `_events.prepare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from trailseal import _json
from trailseal._event_rules import EVENT
from trailseal._events import MAX_UNCOUNTED, NUL, EventLike, full

STEP = 16  # events encoded at once: more gain nothing


def ready(events: Sequence[EventLike], tenant: str | None) -> tuple[list[str], list[bytes]] | None:
    """The ids of the events, and their JSON in pieces, each of some events with commas between.

    None where one needs a closer look. The events are read more than once: no other code may
    change them meanwhile.
    """
    if {*map(type, events)} != {dict}:
        return None
    whole = [full(event, tenant) for event in cast("Sequence[dict[str, Any]]", events)]
    try:  # encoded first: that brings all of them into the processor's cache
        pieces = _encoded(whole)
        if not pieces or not EVENT.column(whole):
            return None
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, for one; a circle
        return None
    return [event["id"] for event in whole], pieces


def _encoded(events: Sequence[EventLike]) -> list[bytes] | None:
    pieces: list[bytes] = []
    at, step = 0, STEP
    while at < len(events):
        some = events[at : at + step]
        piece = _json.fast(some)[1:-1]
        if b"\\" in piece and NUL in piece:  # the first is found far faster, and rare
            return None
        if len(piece) <= MAX_UNCOUNTED:  # and so each event in it: no limit is near
            pieces.append(piece)
            at += step
        elif step > 1 and len(piece) <= len(some) * MAX_UNCOUNTED:  # else one is surely longer
            step //= 2
        else:
            return None
    return pieces
