"""`manage.py create_api_key NAME`: a key for a gateway or a Dev Server."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework_api_key.models import APIKey

_LONGEST_NAME = 50


class Command(BaseCommand):
    """Print a new API key, once: only its hash is kept."""

    help = "Create an API key and print it, once: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name of whoever is to use the key."""
        parser.add_argument("name", help="whom the key is for; shown in the admin")

    def handle(self, *args: Any, **options: Any) -> None:
        """Put the key alone on standard output, and words on standard error."""
        name = options["name"].strip()
        if not 0 < len(name) <= _LONGEST_NAME:
            raise CommandError(f"A name has 1 to {_LONGEST_NAME} characters.")
        _, key = APIKey.objects.create_key(name=name)
        self.stderr.write(f"API key for {name}; it is not shown again:")
        self.stdout.write(key)
