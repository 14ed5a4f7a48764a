"""For your tests: the real server in your process, without a port, and what to ask of it.

    def test_deleting_an_invoice_is_logged(audit_log):      # a pytest fixture, found by itself
        delete_invoice("inv_1")
        audit_log.assert_logged(action="invoice.deleted", resource=("invoice", "inv_1"))
        audit_log.assert_nothing_else()

`AuditLog` is the same without pytest, as a context manager. It needs the extra `[server]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trailseal.testing._log import AuditLog

__all__ = ["AuditLog"]


def __getattr__(name: str) -> object:
    """Load what it needs when it is first used: pytest imports the plugin in every run."""
    if name != "AuditLog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trailseal.testing._log import AuditLog  # noqa: PLC0415  # see above

    return AuditLog
