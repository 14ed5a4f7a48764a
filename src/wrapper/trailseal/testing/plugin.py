"""The pytest plugin: the fixture `audit_log`. Nothing is loaded before a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trailseal.testing import AuditLog


@pytest.fixture
def audit_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditLog]:
    """A TrailSeal server of this test's own, in this process: see `trailseal.testing.AuditLog`.

    While it lives, clients made without address, key and transport of their own are its clients.
    """
    from trailseal import config  # noqa: PLC0415  # see above
    from trailseal.testing import AuditLog  # noqa: PLC0415  # see above

    with AuditLog() as log:
        monkeypatch.setenv("TRAILSEAL_URL", log.url)
        monkeypatch.setenv("TRAILSEAL_API_KEY", log.key)
        monkeypatch.setenv("TRAILSEAL_STATE_FILE", str(log.state_file))
        monkeypatch.delenv("TRAILSEAL_DISABLED", raising=False)
        monkeypatch.setattr(config, "connection", log.connection)
        yield log
