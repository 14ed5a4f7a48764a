"""The outbox's table."""

from collections.abc import Sequence
from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    """Create it."""

    initial = True
    dependencies: ClassVar[Sequence[tuple[str, str]]] = []
    operations: ClassVar[Sequence[Operation]] = [
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("key", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.CharField(max_length=128)),
                ("log_id", models.CharField(max_length=64, null=True)),
                ("content", models.TextField()),
                ("created_at", models.DateTimeField()),
                ("parked_code", models.CharField(max_length=64, null=True)),
                ("parked_detail", models.TextField(null=True)),
            ],
            options={"db_table": "trailseal_outbox"},
        ),
    ]
