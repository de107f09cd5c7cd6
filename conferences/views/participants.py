"""`/mediaConferences/{confId}/participants`: invite, remove, mute and rate, and change the host."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema, wire
from conferences.idempotency import Change, idempotent
from conferences.operations import hosting, rating
from conferences.operations.locking import etag
from conferences.serializers import InvitationSerializer, MuteSerializer, RatingSerializer, RoleSerializer
from conferences.views.base import EnablerView, parse
from events import clock


class ParticipantsView(EnablerView):
    """`/mediaConferences/{confId}/participants`: invite a participant."""

    @extend_schema(
        request=InvitationSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.ParticipantShape, **schema.REFUSALS},
    )
    @idempotent
    def post(self, request: Request, conference_id: str) -> Change:
        """Invite one more participant. Only the host may do so."""
        data = parse(InvitationSerializer, request)

        def invite() -> Response:
            locked, participant = hosting.invite_participant(
                session=self.session, conference_id=conference_id, to=data["to"], now=clock.now()
            )
            headers = {
                "Location": f"{request.path}/{participant.pk}",
                "ETag": etag(locked.conference),
                "x-state": participant.state,
            }
            return Response(wire.participant(participant, locked.reachable), status=201, headers=headers)

        return invite


class ParticipantView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}`: remove a participant."""

    @extend_schema(parameters=[schema.IF_MATCH_HEADER], responses={204: None, **schema.REFUSALS})
    def delete(self, request: Request, conference_id: str, participant_id: str) -> Response:
        """Remove another participant (only the host may do so), or leave."""
        hosting.remove_participant(
            session=self.session,
            conference_id=conference_id,
            participant_id=participant_id,
            now=clock.now(),
            if_match=request.headers.get("if-match"),
        )
        return Response(status=204)


class MuteView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}/mute`: mute and unmute."""

    @extend_schema(
        request=MuteSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, participant_id: str) -> Change:
        """Mute another participant (only the host may do so), or mute and unmute yourself."""
        data = parse(MuteSerializer, request)

        def mute() -> Response:
            hosting.mute_participant(
                session=self.session,
                conference_id=conference_id,
                participant_id=participant_id,
                audio=data["audio"],
                video=data["video"],
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return mute


class RoleView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}/role`: change the host."""

    @extend_schema(
        request=RoleSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, participant_id: str) -> Change:
        """Make another participant the host. Only the host may do so."""
        parse(RoleSerializer, request)

        def hand_over() -> Response:
            hosting.make_host(
                session=self.session,
                conference_id=conference_id,
                participant_id=participant_id,
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return hand_over


class RatingView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}/rating`: rate the call."""

    @extend_schema(
        request=RatingSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, participant_id: str) -> Change:
        """Rate the call as one of its participants. Only support staff see the rating."""
        data = parse(RatingSerializer, request)

        def rate() -> Response:
            rating.rate_call(
                session=self.session,
                conference_id=conference_id,
                participant_id=participant_id,
                stars=data["stars"],
                comment=data["comment"],
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return rate
