"""`trailseal export`: a file of events, made by the server, downloaded whole, verified."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trailseal._words import counted

from . import _output
from ._exits import Mistake, say
from ._session import LogId, Session, command
from ._verify import check

if TYPE_CHECKING:
    from trailseal import Client, Operation

FORMATS = (".jsonl", ".json", ".csv")
PATIENCE = 3600.0  # seconds for the server to make the file, and again to download it

Step = Callable[[int, int | None], object]  # how much is done, and of how much


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "export")(export)


def export(
    session: Session,
    filters: dict[str, Any],
    *,
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="NAME.jsonl (can be verified), .json or .csv; or .gz."),
    ],
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="QUERY", help="A search query, instead of filters."),
    ] = None,
    search_id: Annotated[
        str | None, typer.Option(metavar="ID", help="What a search found.")
    ] = None,
    export_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with an export that was begun.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check it afterwards, offline.")] = False,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="A verifier key that you trust."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Or only begin it, and print its id.")
    ] = True,
    log_id: LogId = None,
) -> None:
    """Export the events that match to a file.

    All there are, without a filter. The file gets its name when it is whole. An export goes on
    at the server when the command is stopped: --export-id takes it up again.

    \b
      trailseal export trail.jsonl --verify --key 'trailseal.local/main+1c1b…+AYj…'
      trailseal export invoices.csv.gz --action-prefix invoice. --last 7d
    """
    form, compression = _form(path)
    if (verify or key) and form != "jsonl":
        raise Mistake("only NAME.jsonl and NAME.jsonl.gz can be verified.")
    if path.exists() and not force:
        raise Mistake(f"{path} exists: --force replaces it.")
    if not path.parent.is_dir():
        raise Mistake(f"{path.parent}: there is no such folder.")
    if export_id and (filters or query or search_id):
        raise Mistake("--export-id goes on with an export: its filters were given before.")
    if key:
        from trailseal.verify import Verifier  # noqa: PLC0415  # loads cryptography

        Verifier(key)  # a mistyped key is found now, not behind a long export
    with session.client() as client:
        if export_id is None:
            operation = client.export(
                form,
                compression=compression,
                query=query,
                search_id=search_id,
                log_id=log_id,
                **filters,
            )
            export_id = operation.id
        if not wait:
            session.record({"export_id": export_id})
            return
        say(f"export {export_id} (if this is stopped, --export-id goes on with it)")
        result = _fetch(client, export_id, path, force=force)
        if session.form == _output.TABLE:
            files = ", ".join(each.name for each in (result.path, *result.sidecars))
            events, size = counted(result.export.events, "event"), counted(result.bytes, "byte")
            typer.echo(f"{events}, {size}: {files}")
        else:
            session.record({"path": str(path), **result.export.raw})
        trusted = key or (_published(client, result.export.log_id) if verify else [])
    if verify or key:
        sys.stdout.flush()
        raise typer.Exit(check(path, trusted, complete=False, show=say))


def _form(path: Path) -> tuple[str, str]:
    name = path.name.removesuffix(".gz")
    form = next((ending for ending in FORMATS if name.endswith(ending)), None)
    if form is None:
        raise Mistake(f"{path}: the name must end in {', '.join(FORMATS)}, or one of them and .gz.")
    return form[1:], "gzip" if path.name.endswith(".gz") else "none"


def _fetch(client: "Client", export_id: str, path: Path, *, force: bool) -> Any:
    def look(operation: "Operation") -> None:
        progress = operation.progress
        made(progress.done if progress else 0, progress.total if progress else None)

    with _progress("making", "events") as made:
        client.wait(export_id, timeout=PATIENCE, on_progress=look)
    with _progress("downloading", "bytes") as arrived:
        return client.download_results(
            path, export_id=export_id, overwrite=force, timeout=PATIENCE, on_progress=arrived
        )


@contextlib.contextmanager
def _progress(what: str, unit: str) -> Iterator[Step]:
    """A bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415  # for a bar only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description:>11}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _published(client: "Client", log_id: str) -> list[str]:
    """The keys that the server names: they show that its words agree, not whose they are."""
    say("no --key: checked with the keys that the server names itself")
    keys = client.verification_keys(log_id=log_id)
    return [key.verifier_key for key in keys if key.verifier_key]
