"""The application that Daphne serves. It creates its database first."""

from django.core.asgi import get_asgi_application
from django.core.management import call_command

application = get_asgi_application()

call_command("migrate", verbosity=0)

from benchmarks.yardstick.urls import fill  # noqa: E402 - models need the applications

fill()
