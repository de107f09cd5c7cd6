"""`/sessions`: register, refresh and end sessions."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema, wire
from conferences.exceptions import IdempotencyExpiredError
from conferences.ice import ice_servers
from conferences.idempotency import Change, idempotent_if
from conferences.names import normalize_name
from conferences.operations import sessions
from conferences.permissions import IsGateway
from conferences.serializers import SessionSerializer
from conferences.views.base import EnablerView, page, parse, without_nul
from events import clock
from events.authentication import principal_of
from events.exceptions import NotFoundError
from events.models import Session


def _require_live_session(body: dict[str, Any]) -> None:
    """Require that the session in a kept answer is live, before its token or TURN credentials are repeated.

    :raises IdempotencyExpiredError: when the session has ended.
    """
    if not Session.objects.live(clock.now()).filter(pk=body["id"]).exists():
        raise IdempotencyExpiredError


class SessionsView(EnablerView):
    """`/sessions`: a gateway registers sessions and lists the live ones."""

    permission_classes = [IsGateway]

    @extend_schema(
        request=SessionSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.NewSessionShape, **schema.REFUSALS},
    )
    @idempotent_if(_require_live_session)
    def post(self, request: Request) -> Change:
        """Register a session. No later response shows its token."""
        data = parse(SessionSerializer, request)

        def register() -> Response:
            session, token = sessions.register_session(
                username=data["username"],
                vtn=data["vtn"] or "",
                icmn=data["icmn"] or "",
                device=data["device"] or "",
                now=clock.now(),
            )
            body = {"id": session.pk, "token": token, **_session(request, session)}
            return Response(body, status=201, headers={"Location": f"/sessions/{session.pk}"})

        return register

    @extend_schema(
        operation_id="sessions_list",
        parameters=[OpenApiParameter("username", str), *schema.PAGE],
        responses={200: schema.SessionList, **schema.REFUSALS},
    )
    def get(self, request: Request) -> Response:
        """List the live sessions, or only those of the user in `username`."""
        rows = Session.objects.live(clock.now())
        if username := normalize_name(without_nul(request.query_params.get("username", ""))):
            rows = rows.filter(username=username)
        listed, after = page(request, rows)
        return Response({"sessions": [wire.session(row) for row in listed], "next": after})


class OneSessionView(EnablerView):
    """A view of one session, for the session itself and for gateways."""

    permission_classes = [IsAuthenticated]

    def find(self, request: Request, session_id: str) -> Session:
        """Return the session with this ID, if the principal may see it.

        :raises NotFoundError: when there is no such session, or the principal is another session.
        """
        principal = principal_of(request)
        row = Session.objects.filter(pk=session_id).first() if principal.gateway is not None else principal.session
        if row is None or row.pk != session_id:
            raise NotFoundError("There is no such session.")
        return row


class SessionView(OneSessionView):
    """`/sessions/{id}`: a session reads, refreshes and ends itself. A gateway may do so for any session."""

    @extend_schema(responses={200: schema.OwnSessionShape, **schema.REFUSALS})
    def get(self, request: Request, session_id: str) -> Response:
        """Return the session."""
        return Response(_session(request, self.find(request, session_id)))

    @extend_schema(
        request=None, parameters=[schema.IDEMPOTENCY_HEADER], responses={200: schema.OwnSessionShape, **schema.REFUSALS}
    )
    @idempotent_if(_require_live_session)
    def put(self, request: Request, session_id: str) -> Change:
        """Refresh the session, which extends its expiry."""
        session = self.find(request, session_id)

        def refresh() -> Response:
            return Response(_session(request, sessions.refresh_session(session_id=session.pk, now=clock.now())))

        return refresh

    @extend_schema(responses={204: None, **schema.REFUSALS})
    def delete(self, request: Request, session_id: str) -> Response:
        """End the session. It leaves its conferences."""
        session = self.find(request, session_id)
        sessions.end_session(session_id=session.pk, now=clock.now())
        return Response(status=204)


class AwayView(OneSessionView):
    """`/sessions/{id}/away`: an endpoint announces that its page closes or reloads."""

    @extend_schema(request=None, responses={204: None, **schema.REFUSALS})
    def post(self, request: Request, session_id: str) -> Response:
        """Mark the session as away. Tell the other participants of its conferences."""
        session = self.find(request, session_id)
        sessions.announce_absence(session_id=session.pk, now=clock.now())
        return Response(status=204)


def _session(request: Request, session: Session) -> dict[str, object]:
    """Return a session as its owner sees it."""
    events = request.build_absolute_uri(f"/sessions/{session.pk}/events")
    return {
        **wire.session(session),
        "events": {"webSocket": "ws" + events.removeprefix("http"), "http": events},
        "iceServers": ice_servers(session.username, session.expires_at),
    }
