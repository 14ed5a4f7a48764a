"""`trailseal schemas`: the registered shapes of events."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from . import _output
from . import _schemas_push as local
from ._exits import BAD_INPUT, FAILED, USAGE, Mistake, printable
from ._session import Session, ask, command

MAX_TEXT = 262_144  # characters, by the contract

File = Annotated[Path, typer.Argument(metavar="FILE", help="JSON Schema, as JSON or YAML.")]
Source = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON Schema, as JSON or YAML; or its text.")
]
Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="Else the document's $id.")]
Version = Annotated[
    str | None, typer.Option("--version", metavar="V", help="Else the document's version.")
]
Backward = Annotated[
    bool,
    typer.Option("--backward", help="Refuse it unless it takes every event of the last version."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    schemas = typer.Typer(no_args_is_help=True, help="The registered shapes of events.")
    command(schemas, "list")(list_schemas)
    command(schemas, "get")(get)
    command(schemas, "register")(register_schema)
    command(schemas, "validate")(validate)
    command(schemas, "push")(local.push)
    app.add_typer(schemas, name="schemas")
    app.add_typer(schemas, name="schema", hidden=True)  # said as often


def list_schemas(
    session: Session,
    *,
    schema_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="All versions of one.")
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="The newest version of each only.")
    ] = False,
) -> None:
    """List schemas and their versions."""
    with session.client() as client:
        found = client.schemas.list(schema_id, latest=latest)
        _output.records(session.form, (schema.raw for schema in found), COLUMNS)


def get(
    session: Session,
    *,
    schema_id: Annotated[str, typer.Argument(metavar="ID", help="As schemas list shows it.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="Else the newest.")
    ] = None,
) -> None:
    """Show a schema's document."""
    with session.client() as client:
        schema = client.schemas.get(schema_id, version).raw
    if session.form == _output.TABLE:
        _output.write(json.dumps(schema["document"], indent=2))
    else:
        session.record(schema)


def register_schema(
    session: Session,
    *,
    file: File,
    schema_id: Id = None,
    version: Version = None,
    backward: Backward = False,
) -> None:
    """Register a version of a schema.

    The same one again changes nothing. Scope: schemas.
    """
    given = _given(file, schema_id, version, backward=backward)
    with session.client() as client:
        schema = client.schemas.register(given.pop("text"), **given).raw
    if session.form == _output.TABLE:
        typer.echo(f"{schema['schema_id']} {schema['version']} is {schema['schema_key']}")
    else:
        session.record(schema)


def validate(
    session: Session,
    *,
    file: Source,
    schema_id: Id = None,
    version: Version = None,
    backward: Backward = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: needs trailseal[schemas].")
    ] = False,
) -> None:
    """Check a schema without registering it.

    Exit codes: 0 valid, 1 not valid, 2 no JSON or YAML, 3 no such file.
    """
    if offline:
        result = local.checked(file)
    else:
        given = _of(file, schema_id, version, backward=backward)
        with session.client() as client:
            from trailseal_api.api.schemas import validate_schema  # noqa: PLC0415  # loads httpx

            from trailseal._call import body  # noqa: PLC0415  # as above

            result = ask(client, validate_schema.request_kwargs(body=body(given)), replayable=True)
    name = file if "\n" not in file and not file.lstrip().startswith("{") else "the text"
    for fault in result["errors"]:
        if fault["pointer"] == "/text":  # what the server cannot read at all
            raise Mistake(f"{name}: {fault['detail']}", USAGE)
    if session.form == _output.TABLE:
        for fault in result["errors"]:
            _output.write(printable(f"{fault['pointer'] or '/'}: {fault['detail']}"))
        _output.write(f"{name}: {'valid' if result['valid'] else 'not valid'}")
    else:
        session.record(result)
    raise typer.Exit(0 if result["valid"] else FAILED)


def _of(
    source: str, schema_id: str | None, version: str | None, *, backward: bool
) -> dict[str, Any]:
    """The request's body, of a file or of text; what is no JSON is said here already."""
    if "\n" not in source and not source.lstrip().startswith("{"):
        try:
            return _given(Path(source), schema_id, version, backward=backward)
        except Mistake as mistake:
            raise Mistake(str(mistake), USAGE) from None
    return _body(source, schema_id, version, backward=backward)


def _given(
    file: Path, schema_id: str | None, version: str | None, *, backward: bool
) -> dict[str, Any]:
    """The request's body; the text travels as it is, and the server reads JSON and YAML alike."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            text = opened.read(MAX_TEXT + 1)
    except UnicodeDecodeError:
        raise Mistake(f"{file}: is no UTF-8.", BAD_INPUT) from None
    if len(text) > MAX_TEXT:
        raise Mistake(f"{file}: has more than {MAX_TEXT} characters.", BAD_INPUT)
    if file.suffix == ".json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Mistake(f"{file}: not JSON ({error}).", BAD_INPUT) from None
        if not isinstance(found, dict | bool):
            raise Mistake(f"{file}: a schema is a JSON object.", BAD_INPUT)
    return _body(text, schema_id, version, backward=backward)


def _body(
    text: str, schema_id: str | None, version: str | None, *, backward: bool
) -> dict[str, Any]:
    return {
        "text": text,
        "schema_id": schema_id,
        "version": version,
        "compatibility": "backward" if backward else None,
    }


COLUMNS: _output.Columns = {
    "ID": lambda schema: schema.get("schema_id"),
    "VERSION": lambda schema: schema.get("version"),
    "STATE": lambda schema: schema.get("state"),
    "TENANT": lambda schema: schema.get("tenant_id"),
    "KEY": lambda schema: schema.get("schema_key"),
}
