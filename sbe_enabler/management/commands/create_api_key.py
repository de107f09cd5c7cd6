"""`manage.py create_api_key NAME`: a key for a gateway or a Dev Server."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework_api_key.models import APIKey

_MAX_NAME_LENGTH = 50


class Command(BaseCommand):
    """Creates an API key and prints it. It cannot be shown again, because only its hash is stored."""

    help = "Create an API key and print it. It cannot be shown again, because only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the name of the key."""
        parser.add_argument("name", help="the client that will use the key; shown in the admin")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print only the key to standard output; explain it on standard error."""
        name = options["name"].strip()
        if not 0 < len(name) <= _MAX_NAME_LENGTH:
            raise CommandError(f"The name must have 1 to {_MAX_NAME_LENGTH} characters.")
        if APIKey.objects.filter(name=name).exists():
            self.stderr.write(f"There is another API key for {name} already. Both are valid until you delete one.")
        _, key = APIKey.objects.create_key(name=name)
        self.stderr.write(
            f"Created an API key for {name} and wrote it to standard output. It is not shown again.\n"
            "To list or delete API keys, open /admin/ and choose API keys."
        )
        self.stdout.write(key)
