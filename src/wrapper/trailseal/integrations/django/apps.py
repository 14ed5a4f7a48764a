"""The Django application: the outbox's table and its command."""

from django.apps import AppConfig


class TrailSealConfig(AppConfig):
    """`trailseal.integrations.django` in INSTALLED_APPS."""

    name = "trailseal.integrations.django"
    label = "trailseal"
    verbose_name = "TrailSeal"
    default_auto_field = "django.db.models.BigAutoField"
