"""What the documentation shows is what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import trailseal
from trailseal_server.app import Running

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def here(server: Running, log_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the environment that the README asks for."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(snippet: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_examples_run_and_their_download_verifies(here: Path) -> None:
    """Each Python example runs as it stands; the command below them accepts what they made."""
    first, raw = SNIPPET.findall(README)
    assert "invoice.deleted" in run(first)
    assert "200 " in run(raw)
    with trailseal.Client.from_env() as client:
        key = client.verification_keys()[0].verifier_key
    assert key is not None
    shown = next(line for line in README.splitlines() if line.startswith("$ trailseal verify"))
    command = shlex.split(shown.removeprefix("$ "))
    command[command.index("--key") + 1] = key
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("verified: ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_within_the_documentation_leads_nowhere(page: Path) -> None:
    """Relative links lead to files of the repository."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
