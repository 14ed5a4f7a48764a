"""`trailseal schemas push`, and checking schema files without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trailseal._words import counted

from . import _output
from ._exits import BAD_INPUT, FAILED, USAGE, Mistake, printable, say
from ._session import Session, ask

if TYPE_CHECKING:
    from trailseal import Client
    from trailseal.schemas import LocalSchema, Registry

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH…", help="Files, or folders of .json .yaml .yml.")
]
Check = Annotated[
    bool, typer.Option("--check", help="For CI: change nothing, fail where push would.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Ask no server: the lock file and the schemas alone.")
]
LockFile = Annotated[
    Path, typer.Option("--lock", metavar="FILE", help="What was pushed; keep it in git.")
]
Compatibility = Annotated[
    str,
    typer.Option(
        "--compatibility",
        metavar="backward|none",
        help="Whether a new version must take every event of the last; a schema's own "
        "x-compatibility wins.",
    ),
]


def push(
    session: Session,
    *,
    paths: Paths,
    check: Check = False,
    offline: Offline = False,
    lock: LockFile = Path("trailseal-schemas.lock"),
    compatibility: Compatibility = "backward",
) -> None:
    """Register local schemas, and note them in a lock file.

    Scope: schemas. A version that was pushed never changes; the same one again changes nothing.
    Exit codes: 0 all is right, 1 a schema is not valid, was changed, or is not compatible, 2 wrong
    settings or a file that is no JSON or YAML, 3 no such file.
    """
    if compatibility not in {"backward", "none"}:
        raise Mistake("--compatibility is backward or none.")
    if offline and not check:
        raise Mistake("--offline is for --check.")
    from trailseal.schemas.lock import Lock  # noqa: PLC0415  # loads the extra [schemas]

    registry, known = read(paths), Lock.read(lock)
    schemas = list(registry)
    faults = [
        f"{each.id} {each.version}: was changed after it was pushed; give it a new version"
        for each in known.changed(schemas)
    ]
    new = known.new(schemas)
    if not faults and not offline:
        with session.client() as client:
            for each in new:
                rule = str(each.document.get("x-compatibility", compatibility))
                found = _judge(client, each, rule) if check else _register(client, each, rule)
                faults += [f"{each.id} {each.version}: {fault}" for fault in found]
                if not (check or found):
                    known.add(each)
                    known.write(lock)
    for fault in faults:
        say(f"trailseal: {fault}", colour="red")
    word = "to push" if check else "pushed"
    result = {"schemas": len(schemas), word.replace(" ", "_"): len(new), "faults": faults}
    if session.form == _output.TABLE:
        for each in new:
            _output.write(printable(f"{word}: {each.id} {each.version}"))
        all_, wrong = counted(len(schemas), "schema"), counted(len(faults), "fault")
        _output.write(f"{all_}, {len(new)} {word}, {wrong}")
    else:
        session.record(result)
    raise typer.Exit(FAILED if faults else 0)


def read(paths: list[Path]) -> Registry:
    """All schemas of files and folders, checked; raises `Mistake`."""
    from trailseal.schemas import Registry  # noqa: PLC0415  # an extra
    from trailseal.schemas.registry import SUFFIXES  # noqa: PLC0415  # as above

    registry = Registry()
    for path in paths:
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
        else:
            files = [path]
        for file in files:
            result = checked(str(file), registry)
            if not result["valid"]:
                shown = "; ".join(f"{e['pointer'] or '/'} {e['detail']}" for e in result["errors"])
                raise Mistake(f"{file}: {shown}", FAILED)
    if not len(registry):
        raise Mistake("no schema there: .json, .yaml and .yml files are read.", BAD_INPUT)
    return registry


def checked(given: str, registry: Registry | None = None) -> dict[str, Any]:
    """Whether a file, or text, is a valid schema, as the server says it.

    Raises `Mistake`: 3 for a file that is not there, 2 for what is no JSON or YAML.
    """
    from trailseal.errors import (  # noqa: PLC0415  # see above
        SchemaConflictError,
        SchemaInvalidError,
    )
    from trailseal.schemas import Registry  # noqa: PLC0415  # as above

    source = text_of(given)
    parsed(given, source)
    try:
        (Registry() if registry is None else registry).register(source)
    except SchemaConflictError as error:
        return _invalid("", str(error.args[0]))
    except SchemaInvalidError as error:
        return _invalid(error.errors[0].pointer, error.errors[0].detail)
    return {"valid": True, "errors": []}


def text_of(given: str) -> str:
    """The text of a file; or what is given, where it is a schema itself."""
    if "\n" in given or given.lstrip().startswith("{"):
        return given
    from trailseal.schemas._load import MAX_TEXT  # noqa: PLC0415  # see above

    try:
        with Path(given).open(encoding="utf-8-sig") as file:
            text = file.read(MAX_TEXT + 1)
    except UnicodeDecodeError:
        raise Mistake(f"{given}: is no UTF-8.", USAGE) from None
    return text if "\n" in text or text.lstrip().startswith("{") else f"{text}\n"


def parsed(given: str, text: str) -> None:
    """Refuse what is no JSON or YAML, with the exit code that says so."""
    from trailseal.errors import SchemaInvalidError  # noqa: PLC0415  # see above
    from trailseal.schemas._load import parse  # noqa: PLC0415  # as above

    try:
        parse(text)
    except SchemaInvalidError as error:
        name = given if text != given else "the text"
        raise Mistake(f"{name}: {error.errors[0].detail}", USAGE) from None


def _invalid(pointer: str, detail: str) -> dict[str, Any]:
    fault = {"code": "schema_invalid", "pointer": pointer, "detail": detail}
    return {"valid": False, "errors": [fault]}


def _judge(client: Client, schema: LocalSchema, rule: str) -> list[str]:
    """What the server would say to a version."""
    from trailseal_api.api.schemas import validate_schema  # noqa: PLC0415  # loads httpx

    from trailseal._call import body  # noqa: PLC0415  # as above

    given = {"document": schema.document, "compatibility": rule}
    answer = ask(client, validate_schema.request_kwargs(body=body(given)), replayable=True)
    return [f"{each['pointer']} {each['detail']}" for each in answer["errors"]]


def _register(client: Client, schema: LocalSchema, rule: str) -> list[str]:
    from trailseal.errors import SchemaConflictError, SchemaInvalidError  # noqa: PLC0415  # as above

    try:
        client.schemas.register(schema.document, compatibility=rule)
    except (SchemaConflictError, SchemaInvalidError) as error:
        found = [f"{each.pointer} {each.detail}" for each in error.errors]
        return found or [json.dumps(str(error))]
    return []
