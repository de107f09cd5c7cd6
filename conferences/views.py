"""The REST interface (protocol sections 3, 4 and 6). Views translate: parse, one call, render."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.db.models import Model, Prefetch, QuerySet
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from conferences import schema, wire
from conferences.costs import require_readable
from conferences.exceptions import ActionMissingError, ActionUnknownError, IdempotencyExpiredError, SdpInvalidError
from conferences.ice import ice_servers
from conferences.idempotency import Change, idempotent, idempotent_while
from conferences.models import Access, Conference, Modification, Participant, Topology
from conferences.names import normalize_name
from conferences.operations import calls, hosting, modifications, sessions
from conferences.operations.locked_conference import etag
from conferences.operations.modifications import Initiation, Outcome
from conferences.operations.reading import read_call, read_offer
from conferences.parsers import BODY_LIMIT, BoundedJSONParser, SdpParser
from conferences.permissions import IsGateway, SpeaksForSession
from conferences.sdp import JudgedSdp, judge, require_direction
from conferences.serializers import (
    ActionSerializer,
    ConferenceSerializer,
    InvitationSerializer,
    MuteSerializer,
    SessionSerializer,
)
from conferences.shapes import ConferenceShape
from events import clock
from events.authentication import speaker_of
from events.clock import instant
from events.exceptions import MalformedError, NotFoundError, RateLimitedError, RefusalError, UnauthenticatedError
from events.models import Session
from events.numbers import NumberError, read_number
from events.throttles import charge

_PAGE = 100
# A list counts as one more request for each of this many conferences.
_ROWS_PER_REQUEST = 5
# Bytes that take longer to read than the database takes to find a conference.
_LONG_BODY = 32 * 1024
_ANSWER = "conference-answer"
_JUDGED_FIRST = (UnauthenticatedError, RateLimitedError, NotFoundError)
Row = TypeVar("Row", bound=Model)


class EnablerView(APIView):
    """What all views share."""

    permission_classes = [SpeaksForSession]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Read no more of a body than shows that it is too large, and tell DRF its length.

        A chunked body has no length, and DRF would take it for empty.
        """
        request._body = request.read(BODY_LIMIT + 1)
        request.META["CONTENT_LENGTH"] = str(len(request._body))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find out who speaks; no ID in an address has a NUL, which PostgreSQL would not even compare.

        A long body is not read for a conference that does not exist for the speaker.
        """
        super().initial(request, *args, **kwargs)
        if any("\0" in value for value in kwargs.values()):
            raise NotFoundError
        if len(request.body) > _LONG_BODY and not self._conference_exists():
            raise NotFoundError("There is no such conference.")

    def handle_exception(self, exc: Exception) -> Response:
        """Refuse; whether the conference exists for the speaker is judged before headers and body."""
        judged_later = isinstance(exc, RefusalError | ParseError | UnsupportedMediaType | ValidationError)
        if judged_later and not isinstance(exc, _JUDGED_FIRST) and not self._conference_exists():
            exc = NotFoundError("There is no such conference.")
        return super().handle_exception(exc)

    def _conference_exists(self) -> bool:
        """Tell whether the address names no conference, or one that exists for the session."""
        conference_id = self.kwargs.get("conference_id")
        if conference_id is None:
            return True
        known = Conference.objects.concerning(self.session)
        if self.request.headers.get("x-conference-action") == _ANSWER:
            # Whoever knows the ID of an open conference may come in.
            known |= Conference.objects.filter(access=Access.OPEN)
        return known.filter(pk=conference_id).exists()

    @property
    def session(self) -> Session:
        """The session that speaks."""
        session = speaker_of(self.request).session
        assert session is not None  # noqa: S101 - SpeaksForSession has let it pass
        return session


def _parse(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the request's body as the serializer understands it.

    :raises ValidationError: which the exception handler renders as `malformed`.
    """
    parser = serializer(data=request.data)
    parser.is_valid(raise_exception=True)
    data: dict[str, Any] = parser.validated_data
    return data


def _description(request: Request, data: dict[str, Any], *types: str) -> JudgedSdp:
    """Return the judged SDP of a body. One that names no type is of the only one that fits, or of none yet.

    :raises SdpInvalidError: when it is missing, or of another type.
    :raises RateLimitedError: when the speaker has sent too much of SDP.
    """
    type_, text = data.get("type", types[0] if len(types) == 1 else ""), data.get("sdp")
    if text is None:
        raise SdpInvalidError("The SDP is missing.")
    if type_ and type_ not in types:
        raise SdpInvalidError(f"Send an SDP of type '{types[0]}' here.")
    require_readable(speaker_of(request), text)
    return judge(type_, text)


def _page(request: Request, rows: QuerySet[Row]) -> tuple[list[Row], str | None]:
    """Return one page of rows by ID after the query's `after`, and the `after` of the next one."""
    try:
        limit = read_number(request.query_params.get("limit", str(_PAGE)), least=1, most=_PAGE)
    except NumberError:
        raise MalformedError(f"'limit' is a number from 1 to {_PAGE}.") from None
    after = request.query_params.get("after", "")
    page = list(rows.order_by("pk").filter(pk__gt=_plain(after))[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    return page, str(page[-1].pk) if more else None


def _plain(text: str) -> str:
    """Return a query parameter that may go to the database.

    :raises MalformedError: when it holds a NUL, which PostgreSQL does not take.
    """
    if "\0" in text:
        raise MalformedError("A query parameter has a NUL character.")
    return text


# --- Sessions ---------------------------------------------------------------------------------------------


def _require_live_session(body: dict[str, Any]) -> None:
    """Refuse to repeat an answer with a token, or TURN credentials, of a session that has ended."""
    if not Session.objects.live(clock.now()).filter(pk=body["id"]).exists():
        raise IdempotencyExpiredError


class SessionsView(EnablerView):
    """`/sessions`: a gateway registers endpoints and lists the live ones."""

    permission_classes = [IsGateway]

    @extend_schema(
        request=SessionSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.NewSessionShape, **schema.REFUSALS},
    )
    @idempotent_while(_require_live_session)
    def post(self, request: Request) -> Change:
        """Register a session. The token in the answer is shown this once."""
        data = _parse(SessionSerializer, request)

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
        """List the live sessions, of one user where `username` says so."""
        rows = Session.objects.live(clock.now())
        if username := normalize_name(_plain(request.query_params.get("username", ""))):
            rows = rows.filter(username=username)
        page, after = _page(request, rows)
        return Response({"sessions": [wire.session(row) for row in page], "next": after})


class SessionView(EnablerView):
    """`/sessions/{id}`: one's own session; a gateway's any."""

    permission_classes = [IsAuthenticated]

    def _session(self, request: Request, session_id: str) -> Session:
        """Return the session with this ID, if the speaker may see it.

        :raises NotFoundError: when not.
        """
        speaker = speaker_of(request)
        row = Session.objects.filter(pk=session_id).first() if speaker.gateway is not None else speaker.session
        if row is None or row.pk != session_id:
            raise NotFoundError("There is no such session.")
        return row

    @extend_schema(responses={200: schema.OwnSessionShape, **schema.REFUSALS})
    def get(self, request: Request, session_id: str) -> Response:
        """Return the session."""
        return Response(_session(request, self._session(request, session_id)))

    @extend_schema(
        request=None, parameters=[schema.IDEMPOTENCY_HEADER], responses={200: schema.OwnSessionShape, **schema.REFUSALS}
    )
    @idempotent_while(_require_live_session)
    def put(self, request: Request, session_id: str) -> Change:
        """Refresh the session: its expiry moves."""
        session = self._session(request, session_id)

        def refresh() -> Response:
            return Response(_session(request, sessions.refresh_session(session_id=session.pk, now=clock.now())))

        return refresh

    @extend_schema(responses={204: None, **schema.REFUSALS})
    def delete(self, request: Request, session_id: str) -> Response:
        """End the session: it leaves its conferences."""
        session = self._session(request, session_id)
        sessions.end_session(session_id=session.pk, now=clock.now())
        return Response(status=204)


def _session(request: Request, session: Session) -> dict[str, object]:
    """Return a session as its owner sees it."""
    events = request.build_absolute_uri(f"/sessions/{session.pk}/events")
    return {
        **wire.session(session),
        "events": {"webSocket": "ws" + events.removeprefix("http"), "http": events},
        "iceServers": ice_servers(session.username, session.expires_at),
    }


# --- Conferences ------------------------------------------------------------------------------------------


class ConferencesView(EnablerView):
    """`/mediaConferences`: start a conference, list one's own."""

    parser_classes = [BoundedJSONParser]

    @extend_schema(
        request=ConferenceSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.ConferenceShape, **schema.REFUSALS},
    )
    @idempotent
    def post(self, request: Request) -> Change:
        """Start a conference and ring everybody in `to`."""
        data = _parse(ConferenceSerializer, request)
        offer = _description(request, data, "offer")

        def start() -> Response:
            locked, outcome = calls.start_conference(
                session=self.session,
                to=data["to"],
                topology=Topology(data["topology"]),
                access=Access(data["access"]),
                name=data["name"],
                offer=offer,
                now=clock.now(),
            )
            location = {"Location": f"/mediaConferences/{locked.conference.pk}", "ETag": etag(locked.conference)}
            return Response(locked.snapshot(), status=201, headers={**location, **_outcome_headers(outcome)})

        return start

    @extend_schema(
        operation_id="mediaConferences_list",
        parameters=[OpenApiParameter("state", str), *schema.PAGE],
        responses={200: schema.ConferenceList, **schema.REFUSALS},
    )
    def get(self, request: Request) -> Response:
        """List the conferences that I take part in: the live ones, or those in `state`."""
        rows = Conference.objects.concerning(self.session)
        state = _plain(request.query_params.get("state", ""))
        rows = rows.filter(state=state) if state else rows.live()
        page, after = _page(request, _with_members(rows))
        charge(speaker_of(request), len(page) // _ROWS_PER_REQUEST)
        return Response({"conferences": [_conference(row) for row in page], "next": after})


class ConferenceView(EnablerView):
    """`/mediaConferences/{confId}`: the sheet's seven flows."""

    parser_classes = [BoundedJSONParser, SdpParser]

    @extend_schema(responses={200: schema.ConferenceShape, **schema.REFUSALS})
    def get(self, request: Request, conference_id: str) -> Response:
        """Return a conference that I take part in."""
        row = _with_members(Conference.objects.concerning(self.session)).filter(pk=conference_id).first()
        if row is None:
            raise NotFoundError("There is no such conference.")
        if request.headers.get("if-none-match") == etag(row):
            return Response(status=304, headers={"ETag": etag(row)})
        return Response(_conference(row), headers={"ETag": etag(row)})

    @extend_schema(
        request={"application/json": ActionSerializer, "application/sdp": str},
        parameters=[schema.ACTION_HEADER, schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str) -> Change:
        """Act on a conference: the header `x-conference-action` says how."""
        command = self._command(request, conference_id, request.headers.get("x-conference-action"))

        def act() -> Response:
            outcome = command(
                session=self.session,
                conference_id=conference_id,
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204, headers=_outcome_headers(outcome))

        return act

    @extend_schema(parameters=[schema.IF_MATCH_HEADER], responses={200: schema.EndedConferenceShape, **schema.REFUSALS})
    def delete(self, request: Request, conference_id: str) -> Response:
        """End my part in the conference, or begin the move that `initiate-call-hold` has armed."""
        ending = calls.end_part(
            session=self.session,
            conference_id=conference_id,
            now=clock.now(),
            if_match=request.headers.get("if-match"),
        )
        body = {**ending.locked.snapshot(), "outcome": ending.outcome}
        if ending.move_refused:
            body["moveRefused"] = ending.move_refused
        if ending.rings_until:
            body["ringsUntil"] = instant(ending.rings_until)
        conference = ending.locked.conference
        return Response(body, headers={"ETag": etag(conference), "x-state": conference.state})

    def _command(self, request: Request, conference_id: str, action: str | None) -> Callable[..., Outcome]:
        """Return the operation that the request asks for, with what its headers and body say."""
        if action is None:
            raise ActionMissingError
        if action == _ANSWER:
            data = _parse(ActionSerializer, request)
            description = _description(request, data, "answer", "offer")
            reading = read_call(session=self.session, conference_id=conference_id)
            return partial(calls.answer_conference, description=description, reading=reading)
        if action == "accept-conference-mod":
            return self._acceptance(request, conference_id)
        if action == "rejectCancel-conference-mod":
            data = _parse(ActionSerializer, request)
            return partial(modifications.withdraw_modification, modification_id=_modification_id(request, data))
        if action not in set(Initiation):
            raise ActionUnknownError(f"There is no action '{action[:64]}'.")
        initiation = Initiation(action)
        offer = _description(request, _parse(ActionSerializer, request), "offer")
        require_direction(offer, modifications.RULES[initiation])
        return partial(modifications.offer_modification, initiation=initiation, offer=offer)

    def _acceptance(self, request: Request, conference_id: str) -> Callable[..., Outcome]:
        """Return the operation that accepts a modification with the answer in the body."""
        data = _parse(ActionSerializer, request)
        modification_id, answer = _modification_id(request, data), _description(request, data, "answer")
        reading = read_offer(
            session=self.session, conference_id=conference_id, modification_id=modification_id, answer=answer
        )
        return partial(
            modifications.accept_modification, modification_id=modification_id, answer=answer, reading=reading
        )


def _modification_id(request: Request, data: dict[str, Any]) -> str:
    """Return which modification is meant: `modId` in the body, or `x-mod-id` beside a bare SDP.

    :raises MalformedError: when neither says.
    """
    modification_id = data.get("modId") or request.headers.get("x-mod-id")
    if not modification_id:
        raise MalformedError("Say which modification: 'modId' in the body, or the header 'x-mod-id'.")
    return str(modification_id)


def _outcome_headers(outcome: Outcome) -> dict[str, str]:
    """Return the headers that tell an outcome."""
    headers = {"x-state": str(outcome.state)}
    if outcome.modification_id:
        headers["x-mod-id"] = outcome.modification_id
    return headers


def _with_members(rows: QuerySet[Conference]) -> QuerySet[Conference]:
    """Load participants and pending modifications with the conferences, in one query each."""
    return rows.prefetch_related(
        Prefetch("participants", Participant.objects.listed().select_related("session")),
        Prefetch("modifications", Modification.objects.pending().defer("offer")),
    )


def _conference(row: Conference) -> ConferenceShape:
    """Return a conference that has been loaded with its members."""
    return wire.conference(row, row.participants.all(), row.modifications.all())


# --- Participants -----------------------------------------------------------------------------------------


class ParticipantsView(EnablerView):
    """`/mediaConferences/{confId}/participants`: invite one more."""

    @extend_schema(
        request=InvitationSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.ParticipantShape, **schema.REFUSALS},
    )
    @idempotent
    def post(self, request: Request, conference_id: str) -> Change:
        """Invite one more participant (the host)."""
        data = _parse(InvitationSerializer, request)

        def invite() -> Response:
            locked, seat = hosting.invite_participant(
                session=self.session, conference_id=conference_id, to=data["to"], now=clock.now()
            )
            headers = {"Location": f"{request.path}/{seat.pk}", "ETag": etag(locked.conference), "x-state": seat.state}
            return Response(wire.participant(seat), status=201, headers=headers)

        return invite


class ParticipantView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}`: remove one."""

    @extend_schema(parameters=[schema.IF_MATCH_HEADER], responses={204: None, **schema.REFUSALS})
    def delete(self, request: Request, conference_id: str, participant_id: str) -> Response:
        """Remove a participant (the host), or leave."""
        hosting.remove_participant(
            session=self.session,
            conference_id=conference_id,
            participant_id=participant_id,
            now=clock.now(),
            if_match=request.headers.get("if-match"),
        )
        return Response(status=204)


class MuteView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}/mute`."""

    @extend_schema(
        request=MuteSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, participant_id: str) -> Change:
        """Mute a participant (the host), or mute and unmute oneself."""
        data = _parse(MuteSerializer, request)

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
