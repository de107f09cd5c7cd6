"""The OpenAPI description, as far as drf-spectacular cannot read it off the views: shapes of answers, and who speaks.

These serializers describe what `conferences.wire` renders; `tests/sbe_enabler/test_openapi.py` compares real
answers with them.
"""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from conferences.machine import ConferenceState, ModificationKind, ModificationState, ParticipantState
from conferences.models import Access, LeftReason, Role, Topology
from conferences.operations.calls import EndOutcome, MoveRefusal
from events.states import SessionState

Shape = serializers.Serializer[Any]


class EventUrls(Shape):
    """Where a session's event channel is."""

    webSocket = serializers.CharField()  # noqa: N815 - the wire's name
    http = serializers.CharField()


class SessionShape(Shape):
    """A session as others see it."""

    id = serializers.CharField()
    username = serializers.CharField()
    vtn = serializers.CharField(allow_null=True)
    icmn = serializers.CharField(allow_null=True)
    device = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(list(SessionState))
    expiresAt = serializers.DateTimeField()  # noqa: N815


class OwnSessionShape(SessionShape):
    """A session as it sees itself."""

    events = EventUrls()
    iceServers = serializers.ListField(child=serializers.DictField())  # noqa: N815


class NewSessionShape(OwnSessionShape):
    """A session that was just registered, with its token, which is shown this once."""

    token = serializers.CharField()


class SessionList(Shape):
    """A page of sessions; `next` is the `after` of the next one."""

    sessions = SessionShape(many=True)
    next = serializers.CharField(allow_null=True)


class Muted(Shape):
    """What the host has muted of a participant."""

    audio = serializers.BooleanField()
    video = serializers.BooleanField()


class ParticipantShape(Shape):
    """One user's seat."""

    id = serializers.CharField()
    username = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(Role.choices)
    state = serializers.ChoiceField(list(ParticipantState))
    sessionId = serializers.CharField(allow_null=True)  # noqa: N815
    device = serializers.CharField(allow_null=True)
    muted = Muted()
    leftReason = serializers.ChoiceField(LeftReason.choices, allow_null=True)  # noqa: N815


class ModificationShape(Shape):
    """A pending modification."""

    modId = serializers.CharField()  # noqa: N815
    kind = serializers.ChoiceField(list(ModificationKind))
    to = serializers.CharField()
    state = serializers.ChoiceField(list(ModificationState))
    expiresAt = serializers.DateTimeField()  # noqa: N815

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the fields; `from` is no name that Python lets a class use."""
        return {**super().get_fields(), "from": serializers.CharField()}


class ConferenceShape(Shape):
    """A conference."""

    id = serializers.CharField()
    topology = serializers.ChoiceField(Topology.choices)
    access = serializers.ChoiceField(Access.choices)
    name = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(list(ConferenceState))
    createdAt = serializers.DateTimeField()  # noqa: N815
    endedAt = serializers.DateTimeField(allow_null=True)  # noqa: N815
    participants = ParticipantShape(many=True)
    leftEarlier = serializers.IntegerField()  # noqa: N815
    pendingModifications = ModificationShape(many=True)  # noqa: N815


class ConferenceList(Shape):
    """A page of conferences; `next` is the `after` of the next one."""

    conferences = ConferenceShape(many=True)
    next = serializers.CharField(allow_null=True)


class EndedConferenceShape(ConferenceShape):
    """A conference as a DELETE leaves it."""

    outcome = serializers.ChoiceField(list(EndOutcome))
    moveRefused = serializers.ChoiceField(list(MoveRefusal), required=False)  # noqa: N815
    ringsUntil = serializers.DateTimeField(required=False)  # noqa: N815


class Problem(Shape):
    """A refusal (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable, for programs.")
    detail = serializers.CharField(help_text="For people.")
    xCorrelator = serializers.CharField(allow_null=True)  # noqa: N815


REFUSALS = {("4XX", "application/problem+json"): Problem}

IDEMPOTENCY_HEADER = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)
IF_MATCH_HEADER = OpenApiParameter("If-Match", str, OpenApiParameter.HEADER)
PAGE = [OpenApiParameter("limit", int), OpenApiParameter("after", str)]


class SpeakerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes `SpeakerAuthentication`: a session's token, or an API key."""

    target_class = "events.authentication.SpeakerAuthentication"
    # One authentication, two schemes.
    name = ["sessionToken", "apiKey"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        """Return the two schemes."""
        return [
            {"type": "http", "scheme": "bearer", "description": "The token of a session."},
            {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Api-Key <key>`, with `x-session-id` naming the session that it speaks for.",
            },
        ]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Return that either will do."""
        return [{name: []} for name in self.name]
