"""The Django application."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Configuration of the application; the admin shows it as "Sessions"."""

    name = "events"
    verbose_name = "Sessions"
