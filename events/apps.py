"""The Django application."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Registers the application."""

    name = "events"
    verbose_name = "Sessions"
