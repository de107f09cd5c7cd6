"""`/mediaConferences/{confId}/participants/{id}/hand`: raise and lower hands."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema
from conferences.idempotency import Change, idempotent
from conferences.operations import hands
from conferences.serializers import HandSerializer
from conferences.views.base import EnablerView, parse
from events import clock


class HandView(EnablerView):
    """`/mediaConferences/{confId}/participants/{id}/hand`: raise and lower a hand."""

    @extend_schema(
        request=HandSerializer,
        parameters=[schema.IDEMPOTENCY_HEADER, schema.IF_MATCH_HEADER],
        responses={204: None, **schema.REFUSALS},
    )
    @idempotent
    def put(self, request: Request, conference_id: str, participant_id: str) -> Change:
        """Raise or lower your own hand, or lower another participant's hand (only the host may do so)."""
        data = parse(HandSerializer, request)

        def move_hand() -> Response:
            hands.raise_hand(
                session=self.session,
                conference_id=conference_id,
                participant_id=participant_id,
                raised=data["raised"],
                now=clock.now(),
                if_match=request.headers.get("if-match"),
            )
            return Response(status=204)

        return move_hand
