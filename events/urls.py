"""HTTP URLs of the event channel."""

from django.urls import path

from events.views import events

urlpatterns = [path("sessions/<str:session_id>/events", events, name="events")]
