"""`/mediaConferences/{confId}/lock` and `/knocks`: the lobby of an open conference."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema, wire
from conferences.idempotency import Change, idempotent
from conferences.operations import lobby
from conferences.serializers import AdmissionSerializer, LockSerializer
from conferences.views.base import EnablerView, parse
from events import clock
from events.clock import instant


class LockView(EnablerView):
    """`/mediaConferences/{confId}/lock`: lock and unlock an open conference."""

    @extend_schema(
        request=LockSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str) -> Change:
        """Lock or unlock an open conference. Only the host may do so."""
        data = parse(LockSerializer, request)

        def lock() -> Response:
            lobby.lock_conference(
                session=self.session,
                conference_id=conference_id,
                locks=data["locked"],
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return lock


class KnocksView(EnablerView):
    """`/mediaConferences/{confId}/knocks`: knock at a locked conference, and list the knocks that wait."""

    @property
    def joins(self) -> bool:
        """Any session that knows the ID of an open conference may knock. Only participants may read."""
        return self.request.method == "POST"

    @extend_schema(
        request=None, parameters=[schema.IDEMPOTENCY_HEADER], responses={201: schema.OwnKnockShape, **schema.REFUSALS}
    )
    @idempotent
    def post(self, request: Request, conference_id: str) -> Change:
        """Ask the host of a locked conference for admission."""

        def knock() -> Response:
            made = lobby.knock_at(session=self.session, conference_id=conference_id, now=clock.now())
            headers = {"Location": f"{request.path}/{made.pk}", "x-state": made.state}
            return Response({"id": made.pk, "expiresAt": instant(made.expires_at)}, status=201, headers=headers)

        return knock

    @extend_schema(responses={200: schema.KnockList, **schema.REFUSALS})
    def get(self, request: Request, conference_id: str) -> Response:
        """List the knocks that wait for an answer. Only the host may do so."""
        rows = lobby.list_knocks(session=self.session, conference_id=conference_id, now=clock.now())
        return Response({"knocks": [{"knock": wire.knock(row), "expiresAt": instant(row.expires_at)} for row in rows]})


class KnockView(EnablerView):
    """`/mediaConferences/{confId}/knocks/{id}`: answer a knock, or withdraw it."""

    @extend_schema(
        request=AdmissionSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, knock_id: str) -> Change:
        """Admit or deny a session that knocks. Only the host may do so."""
        data = parse(AdmissionSerializer, request)

        def answer() -> Response:
            lobby.answer_knock(
                session=self.session,
                conference_id=conference_id,
                knock_id=knock_id,
                admits=data["admit"],
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return answer

    @extend_schema(responses={204: None, **schema.REFUSALS})
    def delete(self, request: Request, conference_id: str, knock_id: str) -> Response:
        """Withdraw a knock of this session."""
        lobby.withdraw_knock(session=self.session, conference_id=conference_id, knock_id=knock_id, now=clock.now())
        return Response(status=204)
