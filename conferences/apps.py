"""The Django application."""

from django.apps import AppConfig

from events import offers


class ConferencesConfig(AppConfig):
    """Registers the application, and the offers that events refer to."""

    name = "conferences"

    def ready(self) -> None:
        """Let events find offers."""
        from conferences.models import offer_of  # the models load after this module

        offers.find_offers_by(offer_of)
