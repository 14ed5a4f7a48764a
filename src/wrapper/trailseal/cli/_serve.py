"""`trailseal serve`: the server, ready to use."""

import errno
import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from ._exits import FAILED, stop


def serve(  # noqa: PLR0917 (typer passes options by name)
    database: Annotated[
        Path, typer.Option(help="The SQLite file; made if it is not there.", dir_okay=False)
    ] = Path("trailseal.db"),
    database_url: Annotated[
        str | None,
        typer.Option(help="Instead of a file: postgresql+psycopg://USER@HOST/NAME."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine, put TLS in front.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65_535)] = 8080,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make and show another key with all rights.")
    ] = False,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log each request, without its content.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when it is ready.")
    ] = False,
) -> None:
    """Start a server on this machine, until Ctrl-C.

    It keeps its log in an SQLite file or in PostgreSQL.

    The first start makes the database, the log's signing key beside it (FILE.key: keep a copy),
    and a first API key, which is shown once.

    Settings can also come from the environment: TRAILSEAL_ORIGIN_PREFIX names the log's origin in
    checkpoints when the database is made, TRAILSEAL_LOG_KEY_FILE and TRAILSEAL_EXPORT_DIR say
    where those lie. A PostgreSQL database needs both,
    the same ones for every server on it.
    """
    try:
        from trailseal_server import app  # noqa: PLC0415 (the server is an extra)
        from trailseal_server.settings import Settings  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        stop(f"{missing.name} is missing: pip install 'trailseal[server]'", FAILED)
    level = logging.INFO if access_log else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s")

    def announce(running: app.Running) -> None:
        if as_json:
            typer.echo(json.dumps({"url": running.url, "api_key": running.key}))
            return
        from rich.console import Console  # noqa: PLC0415  # not before it is needed

        console = Console(highlight=False, soft_wrap=True)
        console.print(
            f"[bold]TrailSeal[/] listens on [bold]{running.url}[/]  (log in {settings.place})"
        )
        if running.key:
            console.print(f"API key, shown only now:  [bold green]{running.key}[/]\n")
            console.print(f"  export TRAILSEAL_URL={running.url}", style="dim")
            console.print(f"  export TRAILSEAL_API_KEY={running.key}\n", style="dim")
        else:
            console.print("Its first API key was shown when the database was made.", end=" ")
            console.print("[dim]Lost? trailseal serve --new-key[/]")

    try:
        url = database_url or f"sqlite:///{database}"
        settings = Settings.load(database_url=url, host=host, port=port)
        app.serve(settings, announce, new_key=new_key)
    except (OSError, ValueError) as error:
        stop(_reason(error), FAILED)


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    if error.errno == errno.EADDRINUSE:
        return "the port is in use by another program: choose one with --port, 0 for any"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
