"""`trailseal get`, `query` and `search`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

import typer

from . import _output
from ._exits import Mistake
from ._session import LogId, Session, command

LIMIT = 20  # events without --limit: a screen
PAGE = 1000  # the contract's most

Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many events.")
]
All = Annotated[bool, typer.Option("--all", help="No limit.")]
Proof = Annotated[bool, typer.Option("--proof", help="With what proves each event (in JSON).")]
Ordered = Annotated[
    str | None, typer.Option(metavar="asc|desc", help="Oldest or newest first; desc.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "get")(get)
    command(app, "query")(query)
    command(app, "search")(search)


def get(
    session: Session,
    *,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")],
    log_id: LogId = None,
    proof: Proof = False,
) -> None:
    """Show one event."""
    with session.client() as client:
        session.record(client.get(event_id, log_id=log_id, include_proof=proof).raw)


def query(
    session: Session,
    filters: dict[str, Any],
    *,
    limit: Limit = LIMIT,
    everything: All = False,
    order: Ordered = None,
    total: Annotated[bool, typer.Option("--total", help="Only count; exact to 10,000.")] = False,
    log_id: LogId = None,
    proof: Proof = False,
) -> None:
    """List the events that match all filters.

    \b
      trailseal query --action-prefix invoice. --last 24h
      trailseal query --actor-id user_1 --all --jsonl > events.jsonl
    """
    most = None if everything else limit
    with session.client() as client:
        size = 1 if total else min(PAGE, (most or PAGE) + 1)
        pager = client.query(
            limit=size,
            order=order,
            include_proof=proof,
            include_total=total,
            log_id=log_id,
            **filters,
        )
        if total:
            page = next(pager.pages())
            count = {"total": page.total, "total_exact": page.total_exact}
            if session.form == _output.TABLE:
                typer.echo(f"{page.total}{'' if page.total_exact else ' or more'}")
            else:
                session.record(count)
            return
        show(session.form, (event.raw for event in pager), most)


def search(
    session: Session,
    *,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help='Words, "a phrase", field:part, data.amount>100.')
    ],
    limit: Limit = LIMIT,
    everything: All = False,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Earliest.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Latest, inclusive.")] = None,
    last: Annotated[str | None, typer.Option(metavar="SPAN", help="30m, 24h, 7d.")] = None,
    restrict: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="What the query cannot widen; repeatable."),
    ] = None,
    order: Ordered = None,
    order_by: Annotated[
        str | None, typer.Option(metavar="FIELD", help="received_at, action, actor, severity …")
    ] = None,
    log_id: LogId = None,
    proof: Proof = False,
) -> None:
    """Find events with a query.

    The results are kept for a while: export --search-id takes the same ones.

    \b
      trailseal search 'action:invoice -outcome:success' --last 7d
      trailseal search 'actor="user_1" data.amount>100' --restrict source=billing
    """
    most = None if everything else limit
    with session.client() as client:
        found = client.search(
            query,
            restrictions=restrictions(restrict),
            start=start,
            end=end,
            last=last,
            order=order,
            order_by=order_by,
            limit=min(PAGE, (most or PAGE) + 1),
            include_proof=proof,
            log_id=log_id,
        )
        more = "" if found.count_exact else " or more"
        _output.note(f"search {found.id}: {found.count}{more} found")
        show(session.form, (event.raw for event in found), most)


def restrictions(given: Iterable[str] | None) -> dict[str, list[str]] | None:
    """`{field: [values]}` of `FIELD=VALUE`; raises `Mistake`."""
    fields: dict[str, list[str]] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise Mistake(f"--restrict {each}: write FIELD=VALUE.")
        fields.setdefault(name, []).append(value)
    return fields or None


def show(form: str, events: Iterator[Mapping[str, Any]], most: int | None) -> None:
    """Show at most so many, and say so where there are more."""
    shown = events if most is None else islice(events, most)
    if _output.records(form, shown, COLUMNS) == most and next(events, None) is not None:
        _output.note(f"more events match: these are {most}; --all shows all, --limit N more.")


def _resource(event: Mapping[str, Any]) -> str | None:
    first: Mapping[str, Any] = next((each for each in event.get("resources") or () if each), {})
    return "/".join(filter(None, (first.get("type"), first.get("id")))) or None


COLUMNS: _output.Columns = {
    "RECEIVED": lambda event: str(event.get("received_at"))[:19] + "Z",
    "ACTION": lambda event: event.get("action"),
    "ACTOR": lambda event: (event.get("actor") or {}).get("id"),
    "RESOURCE": _resource,
    "OUTCOME": lambda event: event.get("outcome"),
    "ID": lambda event: event.get("id"),
}
