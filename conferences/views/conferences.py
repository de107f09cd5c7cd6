"""`/mediaConferences`: start, list, read, change and end conferences."""

from datetime import timedelta

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema, wire
from conferences.exceptions import NoSuchConferenceError
from conferences.idempotency import Change, idempotent
from conferences.machine import ConferenceState
from conferences.models import Access, Conference, Modification, Participant, Topology
from conferences.operations import calls
from conferences.operations.locking import etag
from conferences.parsers import BoundedJSONParser, SdpParser
from conferences.serializers import ActionSerializer, ConferenceSerializer
from conferences.shapes import ConferenceShape
from conferences.views.actions import ACTION_HEADER, action_of
from conferences.views.base import EnablerView, description, outcome_headers, page, page_bounds, parse, without_nul
from events import clock
from events.authentication import principal_of
from events.clock import instant
from events.models import Session
from events.throttles import charge

# A request for a list counts as one request, plus one for each full group of this many conferences in its response.
_ROWS_PER_REQUEST = 5
# The age and number of missed calls in the list.
_MISSED_AGE = timedelta(days=7)
_MOST_MISSED = 20


class ConferencesView(EnablerView):
    """`/mediaConferences`: start a conference, and list the conferences of the session's user."""

    parser_classes = [BoundedJSONParser]

    @extend_schema(
        request=ConferenceSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER],
        responses={201: schema.ConferenceShape, **schema.REFUSALS},
    )
    @idempotent
    def post(self, request: Request) -> Change:
        """Start a conference and invite the users in `to`."""
        data = parse(ConferenceSerializer, request)
        offer = description(request, data, "offer")

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
            return Response(locked.snapshot_for_caller(), status=201, headers={**location, **outcome_headers(outcome)})

        return start

    @extend_schema(
        operation_id="mediaConferences_list",
        parameters=[OpenApiParameter("state", str), OpenApiParameter("missed", bool), *schema.PAGE],
        responses={200: schema.ConferenceList, **schema.REFUSALS},
    )
    def get(self, request: Request) -> Response:
        """List the conferences in which I am present or that ring for me, those in `state`, or my missed calls."""
        if request.query_params.get("missed") == "true":
            return self._missed(request)
        state = without_nul(request.query_params.get("state", ""))
        rows = _conferences_of(self.session, state, *page_bounds(request))
        listed, after = page(request, _with_members(rows))
        charge(principal_of(request), len(listed) // _ROWS_PER_REQUEST)
        return Response({"conferences": [_conference(row) for row in listed], "next": after})

    def _missed(self, request: Request) -> Response:
        """List the last calls that the user has missed, newest first, on one page."""
        since = clock.now() - _MISSED_AGE
        listed = _with_members(Conference.objects.missed_by(self.session, since=since, number=_MOST_MISSED))
        charge(principal_of(request), len(listed) // _ROWS_PER_REQUEST)
        return Response({"conferences": [_conference(row) for row in listed], "next": None})


class ConferenceView(EnablerView):
    """`/mediaConferences/{confId}`: read a conference, act on it, and leave or end it."""

    parser_classes = [BoundedJSONParser, SdpParser]

    @extend_schema(responses={200: schema.ConferenceShape, **schema.REFUSALS})
    def get(self, request: Request, conference_id: str) -> Response:
        """Return a conference that I take part in, or took part in."""
        row = _with_members(Conference.objects.concerning(self.session, conference_id)).first()
        if row is None:
            raise NoSuchConferenceError
        if request.headers.get("if-none-match") == etag(row):
            return Response(status=304, headers={"ETag": etag(row)})
        return Response(_conference(row), headers={"ETag": etag(row)})

    @extend_schema(
        request={"application/json": ActionSerializer, "application/sdp": str},
        parameters=[ACTION_HEADER, schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str) -> Change:
        """Act on a conference. The header `x-conference-action` names the action."""
        action = action_of(request, session=self.session, conference_id=conference_id)

        def act() -> Response:
            return Response(status=204, headers=outcome_headers(action.perform(now=clock.now())))

        return act

    @extend_schema(
        parameters=[OpenApiParameter("for", str, enum=["all"]), schema.IF_MATCH_HEADER],
        responses={200: schema.EndedConferenceShape, **schema.REFUSALS},
    )
    def delete(self, request: Request, conference_id: str) -> Response:
        """Decline, leave or end the conference, or begin the move that `initiate-call-hold` has armed."""
        ending = calls.end_participation(
            session=self.session,
            conference_id=conference_id,
            now=clock.now(),
            for_all=request.query_params.get("for") == "all",
            if_match=request.headers.get("if-match"),
        )
        body = {**ending.locked.snapshot(), "outcome": ending.outcome}
        if ending.move_refused:
            body["moveRefused"] = ending.move_refused
        if ending.rings_until:
            body["ringsUntil"] = instant(ending.rings_until)
        conference = ending.locked.conference
        return Response(body, headers={"ETag": etag(conference), "x-state": conference.state})


def _conferences_of(session: Session, state: str, after: str, limit: int) -> QuerySet[Conference]:
    """Return the user's live conferences, or those in `state`.

    Ended conferences are limited to one page and one more row, which shows that another page follows.
    """
    if state == ConferenceState.SESSION_TERMINATED:
        return Conference.objects.ended_with(session, after=after, number=limit + 1)
    live = Conference.objects.live_with(session)
    return live.filter(state=state) if state else live


def _with_members(rows: QuerySet[Conference]) -> QuerySet[Conference]:
    """Prefetch the listed participants and the pending modifications, with one query for each kind."""
    return rows.prefetch_related(
        Prefetch("participants", Participant.objects.listed().select_related("session")),
        Prefetch("modifications", Modification.objects.pending().defer("offer")),
    )


def _conference(row: Conference) -> ConferenceShape:
    """Render a conference whose members `_with_members` has prefetched."""
    return wire.conference(row, row.participants.all(), row.modifications.all())
