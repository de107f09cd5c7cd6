"""The Django application."""

from django.apps import AppConfig


class ConferencesConfig(AppConfig):
    """Registers the application."""

    name = "conferences"
