"""The commands, each in a module of its own."""

from typing import Annotated

import typer

from ._serve import serve
from ._verify import verify

app = typer.Typer(
    name="trailseal",
    help="Audit logs that are never lost, findable and provable.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(verify)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 (slow to import, seldom asked for)

        typer.echo(f"trailseal {version('trailseal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit."),
    ] = False,
) -> None:
    """Audit logs that are never lost, findable and provable."""
