"""The outbox's table; the same as SQLAlchemy's."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from trailseal.integrations.outbox._rows import MAX_CODE, MAX_ID, MAX_LOG_ID, TABLE


class OutboxEvent(models.Model):
    """An event that was committed, and not yet delivered; written by `outbox.log`."""

    key: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    event_id: models.CharField[str, str] = models.CharField(max_length=MAX_ID)
    log_id: models.CharField[str | None, str | None] = models.CharField(
        max_length=MAX_LOG_ID, null=True
    )  # null: the key's log
    content: models.TextField[str, str] = models.TextField()
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    parked_code: models.CharField[str | None, str | None] = models.CharField(
        max_length=MAX_CODE, null=True
    )  # null: it waits
    parked_detail: models.TextField[str | None, str | None] = models.TextField(null=True)

    class Meta:
        """Django's options."""

        app_label = "trailseal"
        db_table = TABLE

    def __str__(self) -> str:
        return f"{self.event_id} ({self.parked_code or 'waits'})"
