"""Addresses of the REST interface."""

from django.urls import path

from conferences import views

urlpatterns = [
    path("sessions", views.SessionsView.as_view(), name="sessions"),
    path("sessions/<str:session_id>", views.SessionView.as_view(), name="session"),
    path("mediaConferences", views.ConferencesView.as_view(), name="conferences"),
    path("mediaConferences/<str:conference_id>", views.ConferenceView.as_view(), name="conference"),
    path(
        "mediaConferences/<str:conference_id>/participants",
        views.ParticipantsView.as_view(),
        name="participants",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>",
        views.ParticipantView.as_view(),
        name="participant",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>/mute",
        views.MuteView.as_view(),
        name="mute",
    ),
]
