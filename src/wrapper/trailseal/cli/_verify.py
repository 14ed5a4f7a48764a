"""`trailseal verify`: checks a downloaded export, or records with proofs, offline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._exits import BAD_INPUT, USAGE, Mistake, printable, say, stop

if TYPE_CHECKING:
    from trailseal.verify import Report, Verifier

COULD_NOT_VERIFY = USAGE
STDIN = Path("-")
MAX_RECORD_BYTES = 32 << 20  # what is longer is several lines, none of them a record


def verify(  # noqa: PLR0917  # typer passes them by name
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="The export: NAME.jsonl[.gz] with its manifest beside it, its directory, or - for "
            "standard input (with --manifest; else records or receipts with proofs, one a line).",
        ),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="A verifier key that you trust. May be repeated."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Names the logs and signers that you trust (TOML)."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="NAME.manifest.json, where the content is standard input."
        ),
    ] = None,
    proof: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A C2SP tlog-proof: then PATH is one event's line."),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Also require that nothing of the range is missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check an export offline.

    That is every event, its place in the log, and the log's signature. Needs no account and no
    network. The log's operator publishes its key; the server names it too (trailseal keys
    verification). Without --key or --policy it can say whether the export agrees with itself,
    but not who signed it, and exits 2.

    A policy: [logs] with "ORIGIN" = ["VERIFIER KEY"], [signers] with KEY_ID = "BASE64 PUBLIC KEY".
    """
    show = None if as_json else _tell
    given = {"complete": complete, "show": show, "policy": policy, "manifest": manifest}
    told = check(path, key or [], proof=proof, **given)  # type: ignore[arg-type]  # of several types
    raise typer.Exit(told)


def check(
    path: Path,
    keys: list[str],
    *,
    complete: bool,
    show: Callable[..., object] | None,
    policy: Path | None = None,
    manifest: Path | None = None,
    proof: Path | None = None,
) -> int:
    """Verify, show the report line by line (as JSON without `show`), and return the exit code."""
    from trailseal.verify import TrustPolicy, UnverifiableError, Verifier  # noqa: PLC0415  # slow
    from trailseal.verify.errors import TrailSealError  # noqa: PLC0415

    try:
        trusted = TrustPolicy.load(policy) if policy else TrustPolicy((), {})
        verifier = Verifier([*trusted.keys, *keys], signing_keys=trusted.signing_keys)
        if proof is not None:
            report = verifier.verify_records([_single(path)], proof=_bounded(proof))
        else:
            report = _report(verifier, path, manifest, complete=complete)
    except UnverifiableError as error:
        stop(str(error), COULD_NOT_VERIFY)
    except TrailSealError as error:
        stop(str(error), BAD_INPUT)
    if show is None:
        typer.echo(json.dumps(report.to_dict()))
        return report.exit_code
    colour = {0: "green", 1: "red"}.get(report.exit_code, "yellow")
    for line in report.summary():
        show(line, colour=colour)
    if not keys and not policy and report.exit_code == COULD_NOT_VERIFY:
        say("Pass the log's key with --key; see trailseal verify --help.")
    return report.exit_code


def _report(verifier: "Verifier", path: Path, manifest: Path | None, *, complete: bool) -> "Report":
    if path != STDIN:
        return verifier.verify_bundle(path, manifest=manifest, complete=complete)
    stream = typer.get_binary_stream("stdin")
    if manifest is not None:
        return verifier.verify_bundle(stream, manifest=manifest, complete=complete)
    if complete:
        raise Mistake("--complete needs the --manifest of what comes from standard input")
    return verifier.verify_records(iter(lambda: stream.readline(MAX_RECORD_BYTES), b""))


def _single(path: Path) -> bytes:
    if path == STDIN:
        return typer.get_binary_stream("stdin").read(MAX_RECORD_BYTES)
    return _bounded(path)


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_RECORD_BYTES)


def _tell(line: str, colour: str) -> None:
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    typer.secho(printable(line), fg=None if plain else colour)
