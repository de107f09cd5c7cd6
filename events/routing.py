"""Addresses of the event channel over WebSocket."""

from django.urls import path

from events.consumers import EventsConsumer

websocket_urlpatterns = [
    # Channels routes ASGI applications with Django's function for views.
    path("sessions/<str:session_id>/events", EventsConsumer.as_asgi())  # type: ignore[arg-type]
]
