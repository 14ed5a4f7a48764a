"""Options that many commands share, and what is made of them.

A command says what it needs by its parameters' names: `session` for the connection and the form of
the output, `filters` for the choice of events. `command()` puts the options in their place.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import _output
from ._exits import Mistake

if TYPE_CHECKING:
    from trailseal import Client
    from trailseal._flow import Flow

T = TypeVar("T")
DEFAULT_TIMEOUT = 30.0  # seconds for one call, as the SDK's own
APP = "trailseal-cli"  # behind the SDK's own name in the User-Agent
MAX_KEY_FILE = 1024  # bytes: a key has some 60
MAX_PAGES = 10_000  # of a list of keys or schemas, 1,000 each: more is a loop

LogId = Annotated[
    str | None, typer.Option("--log-id", metavar="LOG", help="The log; else the key's own.")
]


@dataclass(frozen=True, slots=True)
class Session:
    """How to reach the server, and how to show what it says."""

    url: str | None
    key_file: Path | None
    timeout: float
    form: str
    report: str

    @classmethod
    def make(
        cls,
        *,
        url: str | None,
        api_key_file: Path | None,
        timeout: float,
        as_json: bool,
        as_jsonl: bool,
        as_table: bool,
    ) -> Session:
        """Read the options; nothing is opened. A report is text unless JSON is asked for."""
        form = _output.choose(as_json=as_json, as_jsonl=as_jsonl, as_table=as_table)
        report = form if as_json or as_jsonl else _output.TABLE
        return cls(url, api_key_file, timeout, form, report)

    def key(self) -> str:
        """The API key, of the file or of the environment; raises `Mistake` without one."""
        if self.key_file is not None:
            with self.key_file.open("rb") as file:
                return file.read(MAX_KEY_FILE).decode("ascii", "replace").strip()
        if key := os.environ.get("TRAILSEAL_API_KEY", ""):
            return key
        raise Mistake("no API key: set TRAILSEAL_API_KEY, or give --api-key-file.")

    def address(self) -> str:
        """The server's URL; raises `Mistake` without one."""
        if url := self.url or os.environ.get("TRAILSEAL_URL", ""):
            return url
        raise Mistake(
            "no server: set TRAILSEAL_URL, or give --url; trailseal serve starts one here."
        )

    def client(self, **options: Any) -> Client:
        """A client; use it as a context manager."""
        url, key = self.address(), self.key()
        from trailseal import Client  # noqa: PLC0415  # loads httpx

        given = {"timeout": self.timeout, "app": APP, **options}
        return Client(url, key, **given)

    def record(self, raw: Mapping[str, Any]) -> None:
        """Show one object."""
        _output.record(self.form, raw)


def run(client: Client, flow: Callable[[Any], Flow[T]]) -> T:
    """Run an operation that the client has no method for, with its retries and errors."""
    return client._run(flow(client._settings))  # noqa: SLF001  # the CLI is part of the package


def ask(client: Client, kwargs: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Send what a generated `request_kwargs` built and read the JSON object that comes back."""
    from trailseal import _call  # noqa: PLC0415  # loads httpx

    given = {"accept": (200, 201), **options}
    response = run(client, lambda settings: _call.call(settings, kwargs, **given))
    return _call.decoded(response)


def confirm(question: str) -> None:
    """Ask before what cannot be undone; raises `Mistake` for no, and where nobody can answer."""
    if not sys.stdin.isatty():
        raise Mistake("nobody to ask: say --yes.")
    if not typer.confirm(question, err=True):
        raise Mistake("nothing was done.", 1)


def listed(client: Client, request: Callable[..., dict[str, Any]]) -> Any:
    """Yield all items of a list that is no list of events."""
    cursor: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        page = ask(client, request(limit=1000, **cursor))
        yield from page.get("items") or []
        if not page.get("next_cursor"):
            return
        cursor = {"cursor": page["next_cursor"]}
    raise Mistake("the server's list does not end.")


_Option = tuple[Any, Any]  # annotation and default


def _flag(name: str, text: str) -> _Option:
    return Annotated[bool, typer.Option(name, help=text)], False


_SESSION: dict[str, _Option] = {
    "as_json": _flag("--json", "Print one JSON document."),
    "as_jsonl": _flag("--jsonl", "Print one JSON object a line; the default in a pipe."),
    "as_table": _flag("--table", "Print a table; the default on a terminal."),
    "url": (
        Annotated[
            str | None, typer.Option("--url", metavar="URL", help="The server; else TRAILSEAL_URL.")
        ],
        None,
    ),
    "api_key_file": (
        Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Holds the API key; else TRAILSEAL_API_KEY."),
        ],
        None,
    ),
    "timeout": (
        Annotated[
            float,
            typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="For each call."),
        ],
        DEFAULT_TIMEOUT,
    ),
}


def _text(metavar: str, text: str) -> _Option:
    return Annotated[str | None, typer.Option(metavar=metavar, help=text)], None


def _outcome() -> _Option:
    option = typer.Option("--outcome", metavar="OUTCOME", help="success, failure, unknown.")
    return Annotated[str | None, option], None


_FILTERS: dict[str, _Option] = {
    "actor_id": _text("ID", "The actor's id."),
    "actor_name_contains": _text("TEXT", "Part of the actor's name."),
    "actor_type": _text("TYPE", "user, service_account, api_key, agent, system …"),
    "action": _text("NAME", "The action, whole: invoice.deleted."),
    "action_contains": _text("TEXT", "Part of the action."),
    "action_prefix": _text("TEXT", "How the action begins: invoice."),
    "action_type": _text("TYPE", "create, read, update, delete, execute …"),
    "outcome": _outcome(),
    "resource_type": _text("TYPE", "The kind of a resource."),
    "resource_id": _text("ID", "A resource's id."),
    "source": _text("NAME", "The application that logged it."),
    "source_ip": _text("IP", "Where it came from."),
    "tag": (
        Annotated[list[str] | None, typer.Option(metavar="KEY:VALUE", help="May be repeated.")],
        None,
    ),
    "schema_id": _text("ID", "The event schema."),
    "q": _text("WORDS", "Words that must all occur."),
    "start": _text("TIME", "Earliest: RFC 3339, a date, -7d, now-1h."),
    "end": _text("TIME", "Latest, in the same forms; inclusive."),
    "last": _text("SPAN", "The time until now: 30m, 24h, 7d."),
    "time_field": _text("FIELD", "What times mean: received_at (else) or occurred_at."),
}


def _chosen(**given: Any) -> dict[str, Any]:
    for tag in given.get("tag") or ():
        if ":" not in tag:
            raise Mistake(f"--tag {tag}: write KEY:VALUE.")
    return {name: value for name, value in given.items() if value}


_GROUPS: dict[str, tuple[dict[str, _Option], Callable[..., Any]]] = {
    "filters": (_FILTERS, _chosen),
    "session": (_SESSION, Session.make),
}


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command, with the shared options that its parameters name."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        groups = {name: _GROUPS[name] for name in _GROUPS if name in signature.parameters}
        parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for each in signature.parameters.values()
            if each.name not in groups
        ]
        for options, _ in groups.values():
            parameters += [
                inspect.Parameter(
                    option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                for option, (annotation, default) in options.items()
            ]

        def called(**given: Any) -> None:
            made = {
                group: make(**{option: given.pop(option) for option in options})
                for group, (options, make) in groups.items()
            }
            function(**given, **made)

        called.__doc__ = function.__doc__
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name)(called)
        return function

    return register
