"""`trailseal verify`: checks a downloaded export, offline."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

COULD_NOT_VERIFY, BAD_INPUT = 2, 3


def verify(
    path: Annotated[
        Path, typer.Argument(help="The export: NAME.jsonl[.gz], with its manifest beside it.")
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(help="A verifier key that you trust, name+hash+base64. May be repeated."),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Also require that nothing of the range is missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check an export offline: every event, its place in the log, and the log's signature.

    Needs no account and no network. The log's operator publishes its key; the server names it
    too (client.verification_keys()). Without --key it can say whether the export agrees with
    itself, but not who signed it, and exits 2.

    Exit codes: 0 verified; 1 failed; 2 could not verify, something needed is missing; 3 bad input.
    """
    from trailseal.verify import Verifier  # noqa: PLC0415 (loads cryptography)
    from trailseal.verify.errors import TrailSealError  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    try:
        report = Verifier(keys=key or []).verify_bundle(path, complete=complete)
    except (OSError, TrailSealError) as error:
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"trailseal: {printable(str(error))}", markup=False, style="red")
        raise typer.Exit(BAD_INPUT) from None
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        colour = {0: "green", 1: "red"}.get(report.exit_code, "yellow")
        for line in report.summary():
            console.print(printable(line), markup=False, style=colour)
        if not key and report.exit_code == COULD_NOT_VERIFY:
            console.print("Pass the log's key with --key; see trailseal verify --help.")
    raise typer.Exit(report.exit_code)


def printable(line: str) -> str:
    """Without control characters: names in a file that is being checked may be hostile."""
    return "".join(c if c.isprintable() else "\ufffd" for c in line)
