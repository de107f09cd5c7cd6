"""The ASGI application: static files, HTTP, and the WebSockets of the event channel."""

import os
from typing import Any
from wsgiref.headers import Headers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sbe_enabler.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

# These imports need the models, which `get_asgi_application` loads.
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from servestatic import ServeStaticASGI

from events.routing import websocket_urlpatterns
from sbe_enabler.handler import Handler, SyncHandler
from sbe_enabler.slowness import TimedHandler
from sbe_enabler.turns import InTurns


def _protect(headers: Headers, path: str, url: str) -> None:
    """Add the header that stops browsers from guessing another media type for a static file."""
    headers["X-Content-Type-Options"] = "nosniff"


def _with_static_files(application: Any) -> Any:
    """Wrap the application to serve static files: from STATIC_ROOT, or with DEBUG directly from the sources."""
    if settings.DEBUG:
        return ASGIStaticFilesHandler(application)
    settings.STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    return ServeStaticASGI(
        application,
        root=settings.STATIC_ROOT,
        prefix=settings.STATIC_URL,
        max_age=60,
        add_headers_function=_protect,
    )


def sync_handler() -> SyncHandler:
    """Return the handler of sync views. If `SBE_SLOW_REQUEST_SECONDS` is set, the handler logs slow requests."""
    slow_seconds = settings.SLOW_REQUEST_SECONDS
    return TimedHandler(slow_seconds) if slow_seconds else SyncHandler()


# Django and Channels declare different types for URL patterns.
_web_sockets: Any = websocket_urlpatterns
_by_protocol: Any = ProtocolTypeRouter(
    {"http": _with_static_files(Handler(_django, sync_handler())), "websocket": URLRouter(_web_sockets)}
)
application = InTurns(_by_protocol)
