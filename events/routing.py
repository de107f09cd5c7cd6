"""WebSocket URLs of the event channel."""

from django.urls import path, re_path

from events.consumers import EventsConsumer, NotFoundConsumer

websocket_urlpatterns = [
    # The type annotations of `path` require a view, but Channels also accepts ASGI applications.
    path("sessions/<str:session_id>/events", EventsConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", NotFoundConsumer.as_asgi()),  # type: ignore[arg-type]
]
