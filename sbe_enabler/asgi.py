"""The ASGI application: static files, HTTP, and the WebSockets of the event channel."""

import os
from typing import Any
from wsgiref.headers import Headers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sbe_enabler.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

# Only now are there models to import.
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from servestatic import ServeStaticASGI

from events.routing import websocket_urlpatterns
from sbe_enabler.handler import Handler, SyncHandler
from sbe_enabler.slowness import TimedHandler
from sbe_enabler.turns import InTurns


def _protect(headers: Headers, path: str, url: str) -> None:
    """Forbid a browser to guess that a static file is something else than it says."""
    headers["X-Content-Type-Options"] = "nosniff"


def _with_static_files(application: Any) -> Any:
    """Serve STATIC_ROOT in front of the application; while debugging, the source files as they are now."""
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
    """Return what serves sync views: a handler that logs slow requests if `SBE_SLOW_REQUEST_SECONDS` is set."""
    slow_seconds = settings.SLOW_REQUEST_SECONDS
    return TimedHandler(slow_seconds) if slow_seconds else SyncHandler()


# Django's and Channels' types do not agree on what a URL pattern is.
_web_sockets: Any = websocket_urlpatterns
_by_protocol: Any = ProtocolTypeRouter(
    {"http": _with_static_files(Handler(_django, sync_handler())), "websocket": URLRouter(_web_sockets)}
)
application = InTurns(_by_protocol)
