"""Django: middleware, settings, and an outbox in the application's own transaction.

    INSTALLED_APPS = [..., "trailseal.integrations.django"]        # for the outbox
    MIDDLEWARE = [..., "trailseal.integrations.django.AuditMiddleware"]
    TRAILSEAL = {"TRUSTED_PROXIES": ["10.0.0.0/8"], "AUDIT": {"spool": "/var/lib/myapp/audit"}}

`audit()` is the process's `trailseal.Audit`; `outbox.log` writes to the outbox.
"""

from trailseal.integrations._requests import identify
from trailseal.integrations.django._settings import audit
from trailseal.integrations.django.middleware import AuditMiddleware

__all__ = ["AuditMiddleware", "audit", "identify"]
