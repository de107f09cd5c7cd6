"""Addresses of the event channel over WebSocket."""

from django.urls import path

from events.consumers import EventsConsumer

websocket_urlpatterns = [path("sessions/<str:session_id>/events", EventsConsumer.as_asgi())]
