"""`/mediaConferences/{confId}/quality`: read how good the connections of a conference were, and report it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conferences import schema, wire
from conferences.exceptions import NoSuchConferenceError
from conferences.models import Conference
from conferences.operations.quality import Reading, record_samples
from conferences.parsers import BoundedJSONParser
from conferences.serializers import ClientSamplesSerializer
from conferences.views.base import EnablerView, page_bounds, parse, without_nul
from events import clock
from events.authentication import principal_of
from events.exceptions import MalformedError
from events.numbers import NumberError, read_number
from events.throttles import charge
from media import samples
from media.reports import DeviceKind, Direction, Sample, Source

# A page counts as one request, plus one for each full group of this many samples.
_ROWS_PER_REQUEST = 50
_LARGEST_ID = (1 << 63) - 1


class QualityView(EnablerView):
    """`/mediaConferences/{confId}/quality`: samples of the connections of a conference."""

    parser_classes = [BoundedJSONParser]

    @extend_schema(
        parameters=[OpenApiParameter("participant", str), *schema.PAGE],
        responses={200: schema.QualityList, **schema.REFUSALS},
    )
    def get(self, request: Request, conference_id: str) -> Response:
        """Return samples of all participants, or of one, the oldest first."""
        if not Conference.objects.concerning(self.session, conference_id).exists():
            raise NoSuchConferenceError
        after, limit = page_bounds(request)
        participant = without_nul(request.query_params.get("participant", ""))
        listed, end = samples.page(conference_id, limit=limit, after=_row_id(after), participant_id=participant)
        charge(principal_of(request), len(listed) // _ROWS_PER_REQUEST)
        return Response({"samples": [wire.quality(row) for row in listed], "next": None if end is None else str(end)})

    @extend_schema(request=ClientSamplesSerializer, responses={204: None, **schema.REFUSALS})
    def post(self, request: Request, conference_id: str) -> Response:
        """Report what your own client has measured."""
        data = parse(ClientSamplesSerializer, request)
        device = DeviceKind(data["device"]) if "device" in data else None
        readings = [reading for each in data["samples"] for reading in _readings(each, device)]
        record_samples(session=self.session, conference_id=conference_id, readings=readings, now=clock.now())
        return Response(status=204)


def _row_id(after: str) -> int:
    """Return the primary key in the query parameter `after`; 0 if it is empty.

    :raises MalformedError: when it is not the `next` of a page.
    """
    try:
        return read_number(after, most=_LARGEST_ID) if after else 0
    except NumberError:
        raise MalformedError("'after' must be the 'next' of the last page.") from None


def _readings(data: Mapping[str, Any], device: DeviceKind | None) -> Iterator[Reading]:
    """Yield the samples of both directions."""
    for direction in Direction:
        if direction in data:
            sample = _sample(data[direction], direction, data["periodMs"] / 1000, device)
            yield Reading(timedelta(milliseconds=data["ageMs"]), sample)


def _sample(data: Mapping[str, float], direction: Direction, period: float, device: DeviceKind | None) -> Sample:
    return Sample(
        participant="",
        source=Source.CLIENT,
        direction=direction,
        bitrate=round(data["bitrate"]),
        loss=data.get("loss"),
        jitter=_seconds(data.get("jitterMs")),
        round_trip=_seconds(data.get("roundTripMs")),
        retransmissions=_whole(data.get("retransmissions")),
        videos=_whole(data.get("videos")),
        frame_rate=data.get("framesPerSecond"),
        width=_whole(data.get("width")),
        height=_whole(data.get("height")),
        freezes=_whole(data.get("freezes")),
        frozen=_seconds(data.get("frozenMs")),
        period=period,
        concealed=data.get("concealed"),
        device=device,
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
