"""The Django application."""

from django.apps import AppConfig

from events import offers


class ConferencesConfig(AppConfig):
    """The application. It gives `events` access to stored offers."""

    name = "conferences"

    def ready(self) -> None:
        """Register the function with which `events` reads the SDP of an offer."""
        from conferences.models import offer_of  # models can only be imported after this module

        offers.find_offers_by(offer_of)
