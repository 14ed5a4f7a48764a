"""What the documentation shows is what happens: each page is followed, step by step."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest
import trailseal.config
from trailseal_server.app import Running

from .pages import ROOT, Reader, blocks, install_command

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
EVERYWHERE = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ELSEWHERE = {
    "cli.md": "tests/e2e/test_cli_page.py runs each of its commands",
    "production.md": "sets up whole machines: PostgreSQL, systemd, nginx",
    "verifying.md": "formats; tests/vectors runs its cases, test_cli_verify.py its commands",
}
FOLLOWED = [page for page in PAGES if page.name not in ELSEWHERE and blocks(page)]
ROWS = {  # of the feature list, that a page shows
    "from-apptrail": ("A-01", "A-04", "A-05", "A-13", "A-15", "A-19", "A-20", "A-21", "A-22"),
    "from-auditledge": ("L-03", "L-05", "L-07", "L-08", "L-10", "L-12", "L-15"),
    "from-pangea": ("P-20", "P-29", "P-30", "P-31", "P-45", "P-47", "P-48", "P-53", "P-60"),
    "from-boto3": ("C-01", "C-06", "C-07", "C-09", "C-15"),
    "configuration": ("A-02",),
    "reading": ("P-40", "P-41", "P-45"),
    "schemas": ("J-07", "J-09", "J-10", "J-12"),
}
OLD_CALLS = {  # what a user of the other SDK looks for
    "from-apptrail": (
        *("ApptrailEventsClient", "put_event", "put_events", "ApptrailError"),
        'getLogger("apptrail")',
    ),
    "from-auditledge": ("AuditLedge(", ".log(", ".query(", ".get(", ".export(", ".usage("),
    "from-pangea": (
        *("Audit(", ".log(", ".log_event(", ".log_bulk(", ".log_bulk_async(", ".log_stream("),
        *(".search(", ".results(", ".export(", ".poll_result(", ".download_results("),
        *(".download_file(", ".root("),
        *("private_key_file", "public_key_info", "tenant_id", "logger_name", "config_id"),
        *("sign_local", "verbose", "order_by", "max_results", "search_restriction"),
        *("verify_consistency", "verify_events", "return_context", "assert_search_restriction"),
    ),
    "coming-from-jupyter-events": (
        *("EventLogger(", "handlers=", "allowed_schemas=", "register_schema_file", "record_event"),
    ),
    "from-boto3": (
        *("put_audit_events", "can_paginate", "get_paginator", "get_waiter", ".close("),
        *("ChannelInsufficientPermission", "ChannelNotFound", "InvalidChannelARN"),
        *("ChannelUnsupportedSchema", "DuplicatedAuditEventId", "UnsupportedOperationException"),
        *("FieldTooLong", "FieldNotFound", "InvalidChecksum", "InvalidData", "InvalidRecipient"),
        *("InvalidEventSource", "AccountNotSubscribed", "Throttling", "InternalFailure"),
    ),
}
NOT_RUN = 3  # blocks that only show: more would be documentation that nobody tried
SHOWN = {"python", "console", "toml", "yaml", "json", "text", ""}
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
EXTRAS = re.compile(r"pip install .*?trailseal\[([\w,]+)\]")


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, as Markdown renderers make them."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip()) for head in heads}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.row(*ROWS.get(page.stem, ())), id=page.stem)
        for page in FOLLOWED
    ],
)
def test_whoever_follows_a_page_gets_what_it_shows(
    page: Path,
    make_server: Callable[..., Running],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each block, in order, against a new server; what is printed is what the page says."""
    server = make_server()
    assert server.key is not None
    home = tmp_path / "home"
    monkeypatch.setenv("PATH", f"{install_command(home)}:{os.environ['PATH']}")
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.chdir(home)
    with Reader(home) as reader:
        reader.follow(page)


@pytest.mark.parametrize("name", OLD_CALLS)
def test_each_call_of_another_sdk_has_its_counterpart(name: str) -> None:
    """On the page for those who come from it."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert not [call for call in OLD_CALLS[name] if call not in text]


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    """A reason of some words; a page that is run elsewhere says where."""
    found = [block for page in FOLLOWED for block in blocks(page) if block.not_run is not None]
    assert len(found) <= NOT_RUN, [str(block) for block in found]
    assert all(len(block.not_run.split()) > 3 for block in found if block.not_run)
    assert all((DOCS / name).is_file() for name in ELSEWHERE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_example_escapes_by_its_language(page: Path) -> None:
    """A block is one that is run, or a file, or no code of ours; none is overlooked."""
    fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page))
    for block in blocks(page):
        if page.name not in ELSEWHERE:
            assert block.language in SHOWN, block
        if block.language in {"", "text"}:
            assert not re.search(r"import trailseal|^\$ trailseal", block.text, re.MULTILINE), block


def test_what_is_to_be_installed_exists() -> None:
    """Each extra that a page names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in EVERYWHERE:
        for named in EXTRAS.findall(page.read_text(encoding="utf-8")):
            assert set(named.split(",")) <= project["optional-dependencies"].keys(), page


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_within_the_documentation_leads_nowhere(page: Path) -> None:
    """Relative links lead to files of the repository, and to headings in them."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md" and "reference" not in there.parts:
            assert anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_the_site_has_every_page() -> None:
    """A page that is in no menu is found by nobody."""
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md")]:
        assert str(page.relative_to(DOCS)) in menu, page


def test_the_error_reference_is_what_the_code_makes() -> None:
    """A new error, code or advice is in it; `make docs` writes it."""
    script = ROOT / "generator" / "error_reference.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_names_every_setting() -> None:
    """Each keyword of the client, and each variable that it reads."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    keywords = set(signature(trailseal.Client.__init__).parameters) - {"self", "http_transport"}
    assert not {name for name in keywords if f"`{name}" not in text}
    told = set(re.findall(r"TRAILSEAL_[A-Z_]+", trailseal.config.__doc__ or ""))
    assert told
    assert not {name for name in told if f"`{name}`" not in text}


def test_the_api_reference_has_every_public_name() -> None:
    """Of the package; errors have a page of their own."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    named = set(re.findall(r"^::: trailseal\.(?:\w+\.)?(\w+)$", pages, re.MULTILINE))
    assert set(trailseal.__all__) - {"errors", "verify"} <= named
    assert set(trailseal.verify.__all__) - set(trailseal.errors.__all__) <= named


def test_the_readme_leads_to_every_page() -> None:
    """Where most people begin to read."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {target for target, _ in LINK.findall(text)}
    missing = {f"docs/{page.name}" for page in DOCS.glob("*.md")} - linked - {"docs/index.md"}
    assert not missing
