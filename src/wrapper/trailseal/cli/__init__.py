"""The command line. It needs the extra: `pip install 'trailseal[cli]'`, and `[server]` for `serve`.

Exit codes: 0 done (or verified); 1 it did not succeed (or verification failed); 2 wrong usage, or
verification could not be done; 3 bad input. Never a traceback for a user's mistake.
"""

import sys


def main() -> None:
    """The entry point `trailseal`."""
    try:
        from ._app import app  # noqa: PLC0415 (typer is an extra)
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.partition(".")[0] in {"typer", "rich", "click"}:
            sys.exit("trailseal: the command line is an extra: pip install 'trailseal[cli]'")
        raise
    app()
