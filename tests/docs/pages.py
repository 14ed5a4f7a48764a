"""Pages of the documentation, and how what they show is run.

1. A page's blocks run in their order: `python` in one namespace, `console` as a shell would, in one
   empty folder, against one new server whose address and key are in the environment.
2. `#> text` lines in a Python block are what it prints, all of it and in that order; the lines
   below a `$ command` are what the command prints. `…` in either stands for anything.
3. A block with `title="NAME"` is written to that file.
4. `<!-- not-run: REASON -->` before a block says why it cannot run here; a test limits how many.
5. A verifier key that is cut short, `trailseal.local/main+1c1b…+AYj…`, is the server's own.
6. `pip install` is not run; which extras there are is checked.
"""

import logging
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

import trailseal
from trailseal.cli._app import app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  # far more than a command takes
FENCE = re.compile(
    r"^(?:<!-- not-run: (?P<not_run>.+?) -->\n+)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<file>[\w.-]+)\")?\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SHORT_KEY = re.compile(r"trailseal\.local/main\+\w+…\+\w+…")
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)  # and its output
SHELL = re.compile(r"""[|<>;&$`*]""")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its text and its mark."""

    page: Path
    line: int
    language: str
    text: str
    file: str | None
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(page=page, line=line, **match.groupdict()))
    return found


def fits(expected: str, shown: str) -> bool:
    """Whether a text is the expected one, in which `…` stands for anything."""
    return (
        re.fullmatch(".*".join(map(re.escape, expected.split("…"))), shown, re.DOTALL) is not None
    )


class Reader:
    """Follows a page; `folder` is where it works."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for value in list(self._names.values()):
            if isinstance(value, trailseal.Client | trailseal.Audit):
                value.close()
        logger = logging.getLogger("trailseal")  # pages show how to set it
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()

    def follow(self, page: Path) -> None:
        """Do all that a page shows."""
        for block in blocks(page):
            if block.not_run:
                continue
            if block.file:
                (self._folder / block.file).write_text(self._whole(block.text), encoding="utf-8")
            elif block.language == "python":
                self._python(block)
            elif block.language == "console":
                self._console(block)

    def _whole(self, text: str) -> str:
        """The text with the whole key in place of a short one."""
        if not SHORT_KEY.search(text):
            return text
        with trailseal.Client.from_env() as client:
            key = client.verification_keys(log_id="main")[0].verifier_key
        assert key is not None
        return SHORT_KEY.sub(key, text)

    def _python(self, block: Block) -> None:
        source = self._whole(block.text)
        code = compile("\n" * (block.line - 1) + source, str(block.page), "exec")
        with redirect_stdout(StringIO()) as said:
            exec(code, self._names)  # noqa: S102  # the documentation's own code
        expected = [line[3:] for line in map(str.strip, source.splitlines()) if line[:3] == "#> "]
        if expected:
            shown = said.getvalue().rstrip("\n")
            assert fits("\n".join(expected), shown), f"{block} printed\n{shown}"

    def _console(self, block: Block) -> None:
        for command, output in COMMAND.findall(block.text):
            if command.startswith("pip install"):
                continue
            code, shown = self._command(self._whole(command))
            assert code == 0, f"{block}: {command}\n{shown}"
            assert fits(output, shown), f"{block}: {command}\n{shown}"

    def _command(self, line: str) -> tuple[int, str]:
        assert not line.startswith("trailseal serve"), "it never ends: mark the block not-run"
        if line.startswith("trailseal ") and not SHELL.search(line):
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            return result.exit_code, result.output
        done = subprocess.run(
            ["bash", "-c", line],  # noqa: S607  # the shell of whoever follows the page
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout


def install_command(home: Path) -> Path:
    """A folder with `trailseal` and `python` for the shell, which are this very interpreter."""
    folder = home / "bin"
    folder.mkdir(parents=True)
    for name, words in {"trailseal": "-m trailseal", "python": ""}.items():
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        command.chmod(0o700)
    return folder
