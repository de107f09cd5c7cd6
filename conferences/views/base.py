"""What all views share: who speaks, how a body is read, and how a list is paged."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from conferences.costs import require_readable
from conferences.exceptions import NoSuchConferenceError, SdpInvalidError
from conferences.models import Access, Conference
from conferences.operations.modifications import Outcome
from conferences.parsers import BODY_LIMIT
from conferences.permissions import SpeaksForSession
from conferences.sdp import JudgedSdp, judge
from events.authentication import speaker_of
from events.exceptions import MalformedError, NotFoundError, RateLimitedError, RefusalError, UnauthenticatedError
from events.models import Session
from events.numbers import NumberError, read_number

ANSWER = "conference-answer"
_PAGE = 100
# Bytes that take longer to read than the database takes to find a conference.
_LONG_BODY = 32 * 1024
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
            raise NoSuchConferenceError

    def handle_exception(self, exc: Exception) -> Response:
        """Refuse; whether the conference exists for the speaker is judged before headers and body."""
        judged_later = isinstance(exc, RefusalError | ParseError | UnsupportedMediaType | ValidationError)
        if judged_later and not isinstance(exc, _JUDGED_FIRST) and not self._conference_exists():
            exc = NoSuchConferenceError()
        return super().handle_exception(exc)

    def _conference_exists(self) -> bool:
        """Tell whether the address names no conference, or one that exists for the session."""
        conference_id = self.kwargs.get("conference_id")
        if conference_id is None:
            return True
        known = Conference.objects.concerning(self.session)
        if self.request.headers.get("x-conference-action") == ANSWER:
            # Every session that knows the ID of an open conference may join it.
            known |= Conference.objects.filter(access=Access.OPEN)
        return known.filter(pk=conference_id).exists()

    @property
    def session(self) -> Session:
        """The session that speaks."""
        session = speaker_of(self.request).session
        assert session is not None  # noqa: S101 - SpeaksForSession has let it pass
        return session


def parse(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the request's body as the serializer understands it.

    :raises ValidationError: which the exception handler renders as `malformed`.
    """
    parser = serializer(data=request.data)
    parser.is_valid(raise_exception=True)
    data: dict[str, Any] = parser.validated_data
    return data


def description(request: Request, data: dict[str, Any], *types: str) -> JudgedSdp:
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


def page(request: Request, rows: QuerySet[Row]) -> tuple[list[Row], str | None]:
    """Return one page of rows by ID after the query's `after`, and the `after` of the next one.

    DRF's cursors are opaque links. Clients of this interface send the ID of the last row that they have.
    """
    try:
        limit = read_number(request.query_params.get("limit", str(_PAGE)), least=1, most=_PAGE)
    except NumberError:
        raise MalformedError(f"'limit' is a number from 1 to {_PAGE}.") from None
    after = request.query_params.get("after", "")
    page = list(rows.order_by("pk").filter(pk__gt=plain(after))[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    return page, str(page[-1].pk) if more else None


def plain(text: str) -> str:
    """Return a query parameter that may go to the database.

    :raises MalformedError: when it holds a NUL, which PostgreSQL does not take.
    """
    if "\0" in text:
        raise MalformedError("A query parameter has a NUL character.")
    return text


def outcome_headers(outcome: Outcome) -> dict[str, str]:
    """Return the headers that tell an outcome."""
    headers = {"x-state": str(outcome.state)}
    if outcome.modification_id:
        headers["x-mod-id"] = outcome.modification_id
    return headers
