"""Addresses of the event channel over WebSocket."""

from django.urls import path, re_path

from events.consumers import EventsConsumer, NowhereConsumer

websocket_urlpatterns = [
    # Channels routes ASGI applications with Django's function for views.
    path("sessions/<str:session_id>/events", EventsConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", NowhereConsumer.as_asgi()),  # type: ignore[arg-type]
]
