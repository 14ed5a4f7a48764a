"""Whether an event is the one that was asked for, and what to say if none is.

1. What is asked for is partial: a mapping may lack members, the event may have more.
2. `actor`, `resource` and times are written as in `log`. A pattern of `re` is searched for in text;
   everything else is compared with `==`, so that `mock.ANY` and `pytest.approx` work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from trailseal._events import EventFields, check_names

MAX_SHOWN = 20  # events in a message
MAX_VALUE = 200  # characters of a value
MISSING: Any = type("Missing", (), {"__repr__": lambda _: "nothing"})()

Event = Mapping[str, Any]


def wanted(action: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, in the contract's names; raises `ConfigurationError` for a typo."""
    check_names(fields, [*EventFields.__annotations__, "log_id"], "field")
    full = dict(fields)
    if action is not None:
        full = {"action": action, **full}
    if isinstance(full.get("actor"), str):
        full["actor"] = {"id": full["actor"]}
    if "resource" in full:
        full["resources"] = [full.pop("resource")]
    if isinstance(full.get("resources"), Sequence):
        full["resources"] = [*map(_resource, full["resources"])]
    return {name: _plain(value) for name, value in full.items()}


def differences(want: Mapping[str, Any], event: Event) -> list[str]:
    """What stands between an event and what is asked for, a line each."""
    return [
        line
        for name, value in want.items()
        for line in _compare(name, value, event.get(name, MISSING))
    ]


def nothing_matches(want: Mapping[str, Any], events: Sequence[Event]) -> str:
    """The message where no event matches: the nearest, and all there are."""
    lines = [f"no event is {_described(want)}"]
    if not events:
        return f"{lines[0]}\nno event was logged at all (is delivery in the background? flush it)"

    def distance(event: Event) -> tuple[bool, int]:
        return bool(_compare("action", want.get("action"), event.get("action"))), len(
            differences(want, event)
        )

    nearest = (
        min(events, key=distance)
        if "action" in want
        else min(events, key=lambda event: len(differences(want, event)))
    )
    lines.append(f"the nearest is {summary(nearest)}:")
    lines += [f"  - {line}" for line in differences(want, nearest)]
    return "\n".join([*lines, *listing("logged, and not asserted yet", events)])


def listing(what: str, events: Sequence[Event]) -> list[str]:
    """Events, a line each."""
    shown = [f"  {summary(event)}" for event in events[:MAX_SHOWN]]
    more = [f"  … and {len(events) - MAX_SHOWN} more"] if len(events) > MAX_SHOWN else []
    return [f"{len(events)} {what}:", *shown, *more]


def summary(event: Event) -> str:
    """Who did what to what."""
    actor, resources = event.get("actor"), event.get("resources")
    by = f" by {actor.get('id')}" if isinstance(actor, Mapping) else ""
    first = resources[0] if isinstance(resources, list) and resources else {}
    on = f" on {' '.join(str(first[n]) for n in ('type', 'id') if n in first)}" if first else ""
    return f"{event.get('action')}{by}{on}"


def _compare(at: str, want: Any, found: Any) -> Iterator[str] | list[str]:
    if isinstance(want, Mapping) and isinstance(found, Mapping):
        return [
            line
            for name, value in want.items()
            for line in _compare(f"{at}.{name}", value, found.get(name, MISSING))
        ]
    if isinstance(want, list | tuple) and isinstance(found, list):
        if (at == "resources" and len(want) <= len(found)) or len(want) == len(found):
            pairs = enumerate(zip(want, found, strict=False))
            return [line for n, (w, f) in pairs for line in _compare(f"{at}[{n}]", w, f)]
        return [f"{at}: wanted {len(want)} items, found {len(found)}"]
    if isinstance(want, re.Pattern):
        same = isinstance(found, str) and want.search(found) is not None
    elif isinstance(want, datetime) and isinstance(found, str):
        same = datetime.fromisoformat(found) == want
    else:
        same = bool(want == found)
    return [] if same else [f"{at}: wanted {_shown(want)}, found {_shown(found)}"]


def _resource(value: Any) -> Any:
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, tuple):
        return dict(zip(("type", "id", "name"), value, strict=False))
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in asdict(value).items() if v is not None and v != ()}
    if isinstance(value, list):
        return [*map(_plain, value)]
    return value


def _described(want: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in want.items()) or "left"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
