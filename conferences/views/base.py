"""The base class of all views, and functions to parse bodies and to page lists."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from conferences.costs import count_sdp
from conferences.exceptions import NoSuchConferenceError, SdpInvalidError
from conferences.models import Access, Conference
from conferences.operations.modifications import Outcome
from conferences.parsers import BODY_LIMIT
from conferences.permissions import SpeaksForSession
from conferences.sdp import ValidatedSdp, validate
from events.authentication import principal_of
from events.exceptions import MalformedError, NotFoundError, RateLimitedError, RefusalError, UnauthenticatedError
from events.models import Session
from events.numbers import NumberError, read_number

ANSWER = "conference-answer"
_PAGE = 100
# Parsing a body of more bytes than this takes longer than finding a conference in the database.
_LONG_BODY = 32 * 1024
# Refusals that do not reveal whether the conference exists.
_CHECKED_FIRST = (UnauthenticatedError, RateLimitedError, NotFoundError)
Row = TypeVar("Row", bound=Model)


class EnablerView(APIView):
    """Bounds bodies, and checks that the conference in the path is visible before it checks headers and body."""

    permission_classes = [SpeaksForSession]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Read the body, but at most one byte more than the limit, and set `CONTENT_LENGTH`.

        DRF would treat a body without a declared length (chunked) as empty.
        """
        request._body = request.read(BODY_LIMIT + 1)
        request.META["CONTENT_LENGTH"] = str(len(request._body))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate the principal, and check the path.

        A NUL in the path is refused here, because PostgreSQL accepts no NUL in a parameter. A long body is not parsed
        if the principal may not see the conference.

        :raises NotFoundError: when there is no such conference, or it is not visible to the principal.
        """
        super().initial(request, *args, **kwargs)
        if any("\0" in value for value in kwargs.values()):
            raise NotFoundError
        if len(request.body) > _LONG_BODY and not self._conference_exists():
            raise NoSuchConferenceError

    def handle_exception(self, exc: Exception) -> Response:
        """Render an exception. A refusal of headers or body becomes 404 if the conference is not visible."""
        checked_later = isinstance(exc, RefusalError | ParseError | UnsupportedMediaType | ValidationError)
        if checked_later and not isinstance(exc, _CHECKED_FIRST) and not self._conference_exists():
            exc = NoSuchConferenceError()
        return super().handle_exception(exc)

    def _conference_exists(self) -> bool:
        """Tell whether the session may see the conference in the path. Return True if the path names no conference."""
        conference_id = self.kwargs.get("conference_id")
        if conference_id is None:
            return True
        known = Conference.objects.concerning(self.session, conference_id)
        if self.joins:
            # Any session that knows the ID of an open conference may join it.
            known |= Conference.objects.filter(pk=conference_id, access=Access.OPEN)
        return known.exists()

    @property
    def joins(self) -> bool:
        """Whether a session needs only the ID of an open conference to make this request."""
        return self.request.headers.get("x-conference-action") == ANSWER

    @property
    def session(self) -> Session:
        """The session that makes the request, or for which a gateway makes the request."""
        session = principal_of(self.request).session
        assert session is not None  # noqa: S101 - SpeaksForSession requires it
        return session


def parse(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the request's body, validated by the serializer.

    :raises ValidationError: when the body is not valid. The exception handler renders this error as `malformed`.
    """
    parser = serializer(data=request.data)
    parser.is_valid(raise_exception=True)
    data: dict[str, Any] = parser.validated_data
    return data


def description(request: Request, data: dict[str, Any], *types: str) -> ValidatedSdp:
    """Return the validated SDP of a body.

    If the body names no type and `types` has only one, the SDP gets that type. If `types` has more, its type is empty.

    :raises SdpInvalidError: when the SDP is missing, invalid or of another type.
    :raises TooLargeError: when it exceeds 512 KiB.
    :raises RateLimitedError: when the principal's user has sent too much SDP in the last minute.
    """
    type_, text = data.get("type", types[0] if len(types) == 1 else ""), data.get("sdp")
    if text is None:
        raise SdpInvalidError("The SDP is missing.")
    if type_ and type_ not in types:
        raise SdpInvalidError(f"Send an SDP of type '{types[0]}' here.")
    count_sdp(principal_of(request), text)
    return validate(type_, text)


def page(request: Request, rows: QuerySet[Row]) -> tuple[list[Row], str | None]:
    """Return one page of rows in the order of their IDs, and the value of `after` for the next page, if there is one.

    The query parameters are `after`, the ID of the last row that the client has, and `limit`. DRF's own cursor
    pagination would need an opaque link for each page instead.

    :raises MalformedError: when `after` or `limit` is not valid.
    """
    after, limit = page_bounds(request)
    page = list(rows.order_by("pk").filter(pk__gt=after)[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    return page, str(page[-1].pk) if more else None


def page_bounds(request: Request) -> tuple[str, int]:
    """Return the query parameters `after` and `limit`: the ID after which a page begins, and the most rows of the page.

    :raises MalformedError: when one of them is not valid.
    """
    try:
        limit = read_number(request.query_params.get("limit", str(_PAGE)), least=1, most=_PAGE)
    except NumberError:
        raise MalformedError(f"'limit' must be a number from 1 to {_PAGE}.") from None
    return without_nul(request.query_params.get("after", "")), limit


def without_nul(text: str) -> str:
    """Return a query parameter after checking that it may go to the database.

    :raises MalformedError: when it contains a NUL, which PostgreSQL does not accept.
    """
    if "\0" in text:
        raise MalformedError("A query parameter must not contain a NUL character.")
    return text


def outcome_headers(outcome: Outcome) -> dict[str, str]:
    """Return the headers of an HTTP response: `x-state`, and `x-mod-id` if there is a modification."""
    headers = {"x-state": str(outcome.state)}
    if outcome.modification_id:
        headers["x-mod-id"] = outcome.modification_id
    return headers
