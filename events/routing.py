"""WebSocket URLs of the event channel."""

from django.urls import path, re_path

from events.consumers import EventsConsumer, NotFoundConsumer

websocket_urlpatterns = [
    # By its annotations, `path` needs a view. Channels also accepts ASGI applications here.
    path("sessions/<str:session_id>/events", EventsConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", NotFoundConsumer.as_asgi()),  # type: ignore[arg-type]
]
