"""V19: schemathesis against a real server on loopback; exits with its status.

    python tests/schemathesis/run.py SCHEMATHESIS [OPTION …]

SCHEMATHESIS is the command of its own virtual environment (`make schemathesis` makes it); the
options are its own, such as `--max-examples 200` or `--seed 1`. schemathesis.toml names what is
left out, and why.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from trailseal_server.app import running
from trailseal_server.settings import Settings

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "spec" / "openapi.yaml"
EXAMPLES = "25"  # of each operation: a minute or two


def main(command: str, options: list[str]) -> int:
    """Run it over the whole contract."""
    with tempfile.TemporaryDirectory(prefix="trailseal-") as folder:
        url = os.environ.get("TRAILSEAL_DATABASE_URL", f"sqlite:///{folder}/trailseal.db")
        files = {"log_key_file": Path(folder, "key"), "export_dir": Path(folder, "exports")}
        settings = Settings(database_url=url, port=0, **files)
        with running(settings) as server:
            run = [command, "--config-file", HERE / "schemathesis.toml", "run", SPEC]
            run += ["--url", server.url, "--header", f"Authorization: Bearer {server.key}"]
            if "--max-examples" not in options:
                run += ["--max-examples", EXAMPLES]
            return subprocess.run([*run, *options], cwd=folder, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
