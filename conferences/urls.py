"""Addresses of the REST interface."""

from django.urls import path

from conferences.views.conferences import ConferencesView, ConferenceView
from conferences.views.hands import HandView
from conferences.views.lobby import KnocksView, KnockView, LockView
from conferences.views.participants import MuteView, ParticipantsView, ParticipantView, RatingView, RoleView
from conferences.views.quality import QualityView
from conferences.views.sessions import AwayView, SessionsView, SessionView

urlpatterns = [
    path("sessions", SessionsView.as_view(), name="sessions"),
    path("sessions/<str:session_id>", SessionView.as_view(), name="session"),
    path("sessions/<str:session_id>/away", AwayView.as_view(), name="away"),
    path("mediaConferences", ConferencesView.as_view(), name="conferences"),
    path("mediaConferences/<str:conference_id>", ConferenceView.as_view(), name="conference"),
    path("mediaConferences/<str:conference_id>/lock", LockView.as_view(), name="lock"),
    path("mediaConferences/<str:conference_id>/quality", QualityView.as_view(), name="quality"),
    path("mediaConferences/<str:conference_id>/knocks", KnocksView.as_view(), name="knocks"),
    path("mediaConferences/<str:conference_id>/knocks/<str:knock_id>", KnockView.as_view(), name="knock"),
    path(
        "mediaConferences/<str:conference_id>/participants",
        ParticipantsView.as_view(),
        name="participants",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>",
        ParticipantView.as_view(),
        name="participant",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>/hand",
        HandView.as_view(),
        name="hand",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>/mute",
        MuteView.as_view(),
        name="mute",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>/role",
        RoleView.as_view(),
        name="role",
    ),
    path(
        "mediaConferences/<str:conference_id>/participants/<str:participant_id>/rating",
        RatingView.as_view(),
        name="rating",
    ),
]
