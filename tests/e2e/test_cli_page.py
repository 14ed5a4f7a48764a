"""docs/cli.md: what it shows is what happens."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trailseal.cli._app import app
from trailseal_server.app import Running
from typer.testing import CliRunner

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECONDS = 60  # far more than a command takes


def steps() -> list[tuple[str, str]]:
    """Commands of the page and what they print, in which `…` stands for anything."""
    found = []
    for block in BLOCK.findall(PAGE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            if not command.startswith("pip "):
                found.append((command, output))
    return found


def shell(line: str, folder: Path) -> tuple[int, str]:
    """Run a line as whoever follows the page does."""
    done = subprocess.run(
        ["bash", "-c", line],  # noqa: S607  # the shell of whoever follows the page
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def test_each_command_of_the_page_prints_what_the_page_says(
    make_server: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another on a new server; what needs a shell, in a shell."""
    server = make_server()
    assert server.key is not None
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    for name, arguments in (("trailseal", "-m trailseal "), ("python", "")):
        command = home / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        command.chmod(0o700)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.setenv("COLUMNS", "200")
    assert len(steps()) > 10
    for line, expected in steps():
        if line.startswith("trailseal "):
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            code, shown = result.exit_code, result.output
        else:
            code, shown = shell(line, home)
        assert code == 0, f"{line}\n{shown}"
        pattern = ".*".join(map(re.escape, expected.split("…")))
        assert re.fullmatch(pattern, shown), f"{line}\n{shown}\nexpected:\n{expected}"


@pytest.mark.parametrize("name", ["log", "query", "export", "import", "tail", "doctor"])
def test_the_page_names_the_commands(name: str) -> None:
    """None is left out of the reference."""
    assert re.search(rf"^\| `{name}\b", PAGE, re.MULTILINE)
