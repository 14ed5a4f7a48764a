"""The example applications, tested as their authors would: with `audit_log`, in this process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal.testing import AuditLog

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ADA = {"Authorization": "Bearer token-of-ada", "User-Agent": "tests/1"}

Example = Callable[[str], Any]


@pytest.fixture
def example(
    audit_log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Example]:
    """Loads an example anew, whose client is made from the environment: one of this test."""
    monkeypatch.setenv("TRAILSEAL_SPOOL_DIR", str(tmp_path / "spool"))
    loaded: list[Any] = []

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        loaded.append(module)
        return module

    yield load
    for module in loaded:
        module.audit.close()


@pytest.mark.row("J-26")
def test_flask_logs_who_deleted_what_though_the_server_is_away_for_a_while(
    example: Example, audit_log: AuditLog
) -> None:
    """Two refusals first; the event arrives once, with its user and browser."""
    shop = example("flask_app")
    audit_log.fail_next(status=503, times=2)
    browser = shop.app.test_client()
    assert browser.delete("/invoices/17", headers=ADA).status_code == 200
    assert browser.delete("/invoices/17").status_code == 401
    shop.audit.flush(30)
    context = {"user_agent": "tests/1", "source_ip": "127.0.0.1"}
    audit_log.assert_logged(
        "invoice.deleted", actor="ada", resource=("invoice", "17"), context=context
    )
    audit_log.assert_logged("access.denied", outcome="failure")
    audit_log.assert_nothing_else()


@pytest.mark.row("J-26")
async def test_fastapi_logs_who_deleted_what(example: Example, audit_log: AuditLog) -> None:
    """The same in an event loop, at a time that the test chooses."""
    shop = example("fastapi_app")
    audit_log.freeze("2026-01-02T03:04:05Z")
    transport = httpx.ASGITransport(shop.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as browser:
        assert (await browser.delete("/invoices/17", headers=ADA)).status_code == 200
    shop.audit.flush(30)
    event = audit_log.assert_logged("invoice.deleted", actor={"id": "ada", "type": "user"})
    assert event.raw["occurred_at"] == "2026-01-02T03:04:05.000000Z"
    audit_log.assert_nothing_else()
