"""The blocking client is made of the asynchronous one, by rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_what_is_edited_missing_or_foreign_is_named(tmp_path: Path) -> None:
    """`--check` finds each way in which generated files can differ, and the next run mends all."""
    script = tmp_path / "generator" / "blocking.py"
    wrapper = tmp_path / "src" / "wrapper" / "trailseal"
    script.parent.mkdir()
    shutil.copy(ROOT / "generator" / "blocking.py", script)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "wrapper" / "trailseal", wrapper, ignore=ignored)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    made = wrapper / "_blocking"
    kept = (made / "pagers.py").read_text()
    (made / "pagers.py").write_text(kept + "# by hand\n")
    (made / "boto.py").unlink()
    (made / "extra.py").write_text("")
    found = run("--check")
    assert found.returncode == 1
    assert [line.partition(" ")[0] for line in found.stderr.splitlines()] == [
        "_blocking/boto.py",
        "_blocking/pagers.py",
        "_blocking/extra.py",
    ]
    assert run().returncode == 0
    assert (run("--check").returncode, (made / "pagers.py").read_text()) == (0, kept)
    assert not (made / "extra.py").exists()
