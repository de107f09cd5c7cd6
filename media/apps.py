"""The Django application."""

from django.apps import AppConfig


class MediaConfig(AppConfig):
    """Registers the application."""

    name = "media"
