"""The command line. It needs the extra: `pip install 'trailseal[cli]'`, and `[server]` for `serve`.

1. Results go to standard output, everything else to standard error.
2. People get tables; a pipe gets JSON Lines. `--json`, `--jsonl` and `--table` choose.
3. A user's mistake is one line that says what to do, and an exit code of `_exits`; never a
   traceback.
4. A secret is never an option's value, where other users of the machine could read it.
5. Modules import the SDK, rich and the server where they use them: `--help` must be quick.
"""

import sys


def main() -> None:
    """The entry point `trailseal`."""
    try:
        from ._app import app  # noqa: PLC0415  # typer is an extra
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.partition(".")[0] in {"typer", "rich", "click"}:
            sys.exit("trailseal: the command line is an extra: pip install 'trailseal[cli]'")
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="trailseal")
