"""A `Sift` (query_sift.py) as each engine is asked for it, on `events.body`.

Both cut the number out behind the first member of the name, and let pass what has a second one. Of
an event of 700 bytes that is 1 µs on SQLite and 1.4 µs on PostgreSQL, where fetching and parsing it
costs 8 and 13.
"""

from collections.abc import Iterable
from math import inf
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, text, true

from ..query_sift import Sift

# Quotes are everywhere in JSON: both engines are faster with what comes after the first one.
_HELD = {
    "postgresql": "events.body LIKE :loosely AND events.body LIKE :strictly",
    "sqlite": """CAST(events.body AS TEXT) GLOB :loosely
      AND CAST(events.body AS TEXT) GLOB :strictly""",
}
# A number of JCS has at most 25 characters. Where there is none, PostgreSQL's pattern gives NULL,
# and SQLite's cast 0, which is made NULL. `outside`, a number that does not pass, stands for no
# member at all.
_WITHIN = {
    "postgresql": """(CAST(substring(coalesce(encode(substring(
          events.body FROM nullif(position(:member IN events.body), 0) + :past FOR 32
        ), 'escape'), :outside) FROM '^-?[0-9][0-9.e+-]*') AS float8)
        BETWEEN :low AND :high) IS NOT FALSE""",
    "sqlite": """(nullif(CAST(CAST(coalesce(substr(
          events.body, nullif(instr(events.body, :member), 0) + :past, 32
        ), :outside) AS TEXT) AS REAL), 0)
        BETWEEN :low AND :high) IS NOT FALSE""",
}
# Only what passed so far is asked whether a number or an array stands there at all: CASE keeps
# planners from asking it first.
_NUMERIC = {
    "postgresql": "CASE WHEN {} THEN encode(events.body, 'escape') ~ :numeric ELSE FALSE END",
    "sqlite": "CASE WHEN {} THEN CAST(events.body AS TEXT) GLOB :numeric ELSE FALSE END",
}
_START = "[[0-9-]"  # to both, one of the characters that an array or a number begins with
_FAR = "1e300"


def passing(connection: Connection, sifts: Iterable[Sift]) -> ColumnElement[bool]:
    """The condition that an event passes all of these."""
    engine = connection.dialect.name
    return and_(true(), *(_condition(engine, sift) for sift in sifts))


def _condition(engine: str, sift: Sift) -> Any:
    member, low, high, texts = sift
    if low is None and high is None:
        return _bound(f"({_HELD[engine]})", **_patterns(engine, member, 1))
    statement, more = f"({_WITHIN[engine]} OR {_HELD[engine]})", {}
    if not texts:
        around = "*" if engine == "sqlite" else ""
        statement = _NUMERIC[engine].format(statement)
        more = {"numeric": f"{around}{member}{_START}{around}"}
    return _bound(
        statement,
        member=member.encode(),
        past=len(member),
        outside=_FAR if low is None else f"-{_FAR}",
        low=-inf if low is None else low,
        high=inf if high is None else high,
        **_patterns(engine, member, 2),
        **more,
    )


def _bound(statement: str, **values: object) -> Any:
    parameters: list[Any] = [bindparam(name, value, unique=True) for name, value in values.items()]
    return text(statement).bindparams(*parameters)


def _patterns(engine: str, member: str, times: int) -> dict[str, object]:
    """What holds a member so many times; names have no character of GLOB's, and one of LIKE's."""
    patterns: dict[str, object] = {}
    for name, part in (("loosely", member.removeprefix('"')), ("strictly", member)):
        if engine == "sqlite":
            patterns[name] = "*" + f"{part}*" * times
        else:
            escaped = part.replace("_", "\\_")
            patterns[name] = ("%" + f"{escaped}%" * times).encode()
    return patterns
