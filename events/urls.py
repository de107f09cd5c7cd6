"""Addresses of the event channel over HTTP."""

from django.urls import path

from events.views import events

urlpatterns = [path("sessions/<str:session_id>/events", events, name="events")]
