"""The event channel over HTTP: long poll and server-sent events (SSE), as thin adapters over the reader."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from events.cursor import CursorError, parse_cursor
from events.exceptions import (
    MalformedError,
    MethodNotAllowedError,
    NotFoundError,
    ReaderReplacedError,
    RefusalError,
    UnauthenticatedError,
)
from events.numbers import NumberError, RangeError, read_number
from events.presence import PRESENCE
from events.problems import OUTAGE, log_outage, refuse
from events.reader import Batch, Entry, Heartbeat, SessionOverError, follow, read
from events.readers import ReplacedError
from events.threads import in_database_thread
from events.throttles import admit
from events.turns import turn_end_of

LONGEST_WAIT = 30.0  # seconds
_DEFAULT_WAIT = "25"
# A stream ends after this many bytes, because the server cannot see how much the client has read. The client then
# reconnects with its cursor.
STREAM_BYTES = 1024 * 1024
STREAM_HEARTBEATS = 20
# The last event of a stream, if newer readers have replaced it. It makes an EventSource wait 60 s before it reconnects.
_REPLACED = 'retry: 60000\nevent: reader-replaced\ndata: {"type":"reader-replaced"}\n\n'


# Sessions use no cookies, so no CSRF protection is needed. With it, a POST would get a CSRF failure instead of 405.
@csrf_exempt
async def events(request: ASGIRequest, session_id: str) -> HttpResponseBase:
    """Return the events after the cursor: as a stream if the client accepts one, otherwise as a long poll."""
    try:
        if request.method != "GET":
            raise MethodNotAllowedError(headers={"Allow": "GET"})
        await _require_session(request, session_id)
        # In some tests, requests do not come from an ASGI server and have no scope.
        end_turn = turn_end_of(getattr(request, "scope", {}))
        if "text/event-stream" in request.headers.get("accept", ""):
            after = _cursor(request.headers.get("last-event-id") or request.GET.get("after", "0"))
            return _stream(session_id, after, end_turn)
        after = _cursor(request.GET.get("after", "0"))
        return await _poll(session_id, after, _wait(request.GET.get("wait", _DEFAULT_WAIT)), end_turn)
    except RefusalError as refusal:
        response = refuse(request, refusal)
        if isinstance(refusal, UnauthenticatedError):
            response["WWW-Authenticate"] = "Bearer"
        return response


async def _require_session(request: HttpRequest, session_id: str) -> None:
    """Require that the client is the session itself, or a gateway that acts for it.

    :raises UnauthenticatedError: when the credentials are missing or unknown.
    :raises NotFoundError: when the client is another session.
    :raises RateLimitedError: when the session makes too many requests; each poll or stream counts as one.
    """
    principal = await in_database_thread(admit)(
        request.META.get("REMOTE_ADDR", ""),
        request.headers.get("authorization", ""),
        request.headers.get("x-session-id", session_id),
    )
    if principal.session is None or principal.session.pk != session_id:
        raise NotFoundError("There is no such session.")


def _cursor(text: str) -> int:
    try:
        return parse_cursor(text)
    except CursorError as error:
        raise MalformedError("'after' must be the seq of an event, or 0.") from error


def _wait(text: str) -> float:
    """Parse `wait`: how long a poll may wait, in seconds; at most LONGEST_WAIT."""
    try:
        return float(read_number(text, most=int(LONGEST_WAIT)))
    except RangeError:
        return LONGEST_WAIT
    except NumberError:
        raise MalformedError("'wait' must be a whole number of seconds.") from None


async def _poll(session_id: str, after: int, seconds: float, end_turn: Callable[[], None]) -> HttpResponse:
    """Return the next events as soon as there are any, or no events after `seconds`."""
    try:
        entries = await _next_entries(session_id, after, seconds, end_turn)
    except SessionOverError:
        raise UnauthenticatedError("The session is over.") from None
    except ReplacedError:
        raise ReaderReplacedError from None
    cursor = entries[-1].cursor if entries else after
    # The events are JSON already, with the same bytes as over the other transports.
    body = f'{{"events":[{",".join(entry.wire for entry in entries)}],"after":{cursor}}}'
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


async def _next_entries(session_id: str, after: int, seconds: float, end_turn: Callable[[], None]) -> list[Entry]:
    """Return the next events after the cursor; an empty list if there are none within `seconds`.

    A poll that does not wait is not registered as a reader, so it replaces no reader. At the end of the wait, the log
    is read once more: a wake-up may have been lost since the watcher's last check.
    """
    entries = await read(session_id, after)
    if entries and seconds:
        await PRESENCE.attend(session_id)
    if entries or not seconds:
        return entries
    async with aclosing(follow(session_id, after, heartbeat=seconds, on_waiting=end_turn)) as log:
        first = await anext(log)
        return first.entries if isinstance(first, Batch) else await read(session_id, after)


def _stream(session_id: str, after: int, end_turn: Callable[[], None]) -> StreamingHttpResponse:
    """Return a response that streams server-sent events."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(
        server_sent(session_id, after, end_turn), content_type="text/event-stream", headers=headers
    )


async def server_sent(session_id: str, after: int, end_turn: Callable[[], None]) -> AsyncIterator[str]:
    """Yield the log in the format of server-sent events, with comments as heartbeats.

    The stream ends after STREAM_BYTES or STREAM_HEARTBEATS, and when the session is over or the database is
    unavailable.
    """
    yield ": follow\n\n"
    sent, beats = 0, 0
    followed = follow(session_id, after, heartbeat=settings.HEARTBEAT_SECONDS, on_waiting=end_turn)
    try:
        async with aclosing(followed) as log:
            async for news in log:
                for entry in news.entries if isinstance(news, Batch) else ():
                    identity = "" if entry.is_gap else f"id: {entry.cursor}\n"
                    yield f"{identity}data: {entry.wire}\n\n"
                    sent += len(entry.wire.encode())
                    if sent > STREAM_BYTES:
                        return
                if isinstance(news, Heartbeat):
                    yield ": heartbeat\n\n"
                    beats += 1
                if beats >= STREAM_HEARTBEATS:
                    return
    except SessionOverError:
        return
    except ReplacedError:
        yield _REPLACED
    except OUTAGE as error:
        log_outage(error)
