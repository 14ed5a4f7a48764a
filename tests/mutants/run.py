"""Mutation testing of `trailseal.verify`: `make mutants`.

mutmut changes the verifier's code in one small way after the other; a change that no test notices
is a gap. It works in a copied tree, because mutmut names what it changes by its folder, and wants
to find `src/trailseal` there. Its environment needs what the verifier and its tests need.

    run.py MUTMUT [--keep FOLDER] [NAME…]      NAME: trailseal.verify.merkle.* and the like

Exits 1 where fewer than `LEAST` of 100 mutants are killed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAST = 90.0  # per cent
NICE = 15
TESTS = ("tests/unit/verify", "tests/attacks/test_bundles.py", "tests/attacks/conftest.py")
VECTORS = ("tests/vectors/make_bundles.py", "tests/vectors/test_trailseal.py", "spec/vectors")
CONFIG = '''\
[tool.mutmut]
paths_to_mutate = ["src/"]
tests_dir = ["tests/"]
also_copy = ["spec/"]
do_not_mutate = ["src/trailseal/__init__.py", "*/verify/__init__.py"]

[tool.pytest.ini_options]
# mutmut's own code is imported too; the command line is not copied.
addopts = """-q -p no:cacheprovider --import-mode=importlib
-k 'not imports_nothing and not cost_no and not the_command'"""
markers = ["row(*ids): of the feature list"]
'''


def prepare(folder: Path) -> None:
    """Copy the verifier, its tests and its vectors."""
    package = ROOT / "src" / "wrapper" / "trailseal"
    target = folder / "src" / "trailseal"
    shutil.copytree(package / "verify", target / "verify", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(package / "__init__.py", target)
    for name in (*TESTS, *VECTORS):
        source, copy = ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    (folder / "pyproject.toml").write_text(CONFIG)


def main() -> int:
    """Run mutmut, list the survivors, and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mutmut", type=Path, help="the command (as a module it loads twice)")
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    parser.add_argument("names", nargs="*")
    given = parser.parse_intermixed_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        if not (folder / "pyproject.toml").exists():
            prepare(folder)
        subprocess.run(
            [given.mutmut, "run", *given.names],
            cwd=folder,
            env={**os.environ, "HYPOTHESIS_PROFILE": "mutants"},
            preexec_fn=lambda: os.nice(NICE),  # no thread runs here
            check=True,
        )
        return tell(folder)
    finally:
        if given.keep is None:
            shutil.rmtree(folder)


def tell(folder: Path) -> int:
    """Print survivors and the rate."""
    killed, survived = 0, []
    for file in sorted((folder / "mutants").rglob("*.meta")):
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items():
            if code == 0:
                survived.append(name)
            elif code is not None and code != 33:  # 33: no test reaches it
                killed += 1
            elif code == 33:
                survived.append(f"{name} (no test reaches it)")
    print(*survived, sep="\n")
    rate = 100 * killed / max(killed + len(survived), 1)
    print(f"{killed} of {killed + len(survived)} mutants killed: {rate:.1f} %, at least {LEAST} %")
    return int(rate < LEAST)


if __name__ == "__main__":
    sys.exit(main())
