"""The commands, each in a module of its own, and what holds for all of them."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import (
    _account,
    _doctor,
    _export,
    _import,
    _keys,
    _log,
    _privacy,
    _read,
    _schemas,
    _serve,
    _spool,
    _tail,
    _verify,
    _watch,
)
from ._exits import INTERRUPTED, PIPE_CLOSED, TABLE, Mistake, describe, say, stop

# As `--help` shows it: \b keeps lines as they are.
EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {what}" for code, what in TABLE.items())


class Commands(TyperGroup):
    """Turns what commands raise into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _mistakes():
            result = super().invoke(ctx)
            sys.stdout.flush()  # here a closed pipe is still ours to handle
            return result


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    with contextlib.suppress(AttributeError, ValueError):  # a test's stream may have no encoding
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            say("")  # the terminal has echoed ^C
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit(PIPE_CLOSED) from None
    except (Mistake, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            _discard_output()
            raise typer.Exit(PIPE_CLOSED) from None
        stop(*describe(error))
    except Exception as error:
        if "trailseal.verify.errors" not in sys.modules:
            raise
        from trailseal.errors import TrailSealError  # noqa: PLC0415  # the SDK is loaded by now

        if not isinstance(error, TrailSealError):
            raise
        stop(*describe(error))


def _discard_output() -> None:
    """Let the interpreter's own last flush go nowhere (Python's documentation of SIGPIPE)."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="trailseal",
    cls=Commands,
    help="Audit logs that are never lost, findable and provable.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich takes longer to load than all the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (_log, _read, _tail, _export, _import):
    module.register(app)
app.command()(_verify.verify)
for module in (_watch, _keys, _schemas, _privacy, _account, _spool):
    module.register(app)
app.command()(_serve.serve)
_doctor.register(app)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  # slow to import, seldom asked for

        typer.echo(f"trailseal {version('trailseal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit."),
    ] = False,
) -> None:
    """Audit logs that are never lost, findable and provable.

    The server and the key come from TRAILSEAL_URL and TRAILSEAL_API_KEY.
    """
