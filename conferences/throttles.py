"""How many requests one speaker may make in a minute, over REST and over the event channel."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from conferences import clock
from conferences.authentication import Speaker, identify_from
from conferences.counters import require_room, take
from conferences.sdp import SDP_LIMIT

if TYPE_CHECKING:
    # DRF's views load this module through the settings before they are complete.
    from rest_framework.views import APIView


# A list of conferences counts as one more request for each so many.
_ROWS_PER_REQUEST = 5
# Bodies up to this many bytes are bounded by the number of requests alone.
_SMALL_BODY = 64 * 1024


class SpeakerThrottle(BaseThrottle):
    """Counts requests per session, or per API key where a gateway speaks for itself."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Tell whether the speaker may go on."""
        if isinstance(request.user, Speaker):
            self._wait = take(_name(request.user), _limit(request.user))
        return not self._wait

    def wait(self) -> float:
        """Return the seconds after which the speaker may ask again."""
        return self._wait


def _name(speaker: Speaker) -> str:
    """Return the name by which a speaker's requests are counted."""
    return f"requests.{speaker.name}"


def _limit(speaker: Speaker) -> int:
    """Return how many requests a speaker may make in a minute."""
    limit: int = settings.REQUESTS_PER_MINUTE if speaker.gateway is None else settings.GATEWAY_REQUESTS_PER_MINUTE
    return limit


def count_rows(speaker: Speaker, rows: int) -> None:
    """Count a list of so many conferences as further requests: a long one takes as long as many others.

    :raises RateLimitedError: when this speaker asks for too much.
    """
    if further := rows // _ROWS_PER_REQUEST:
        require_room(_name(speaker), _limit(speaker), further)


def admit(address: str, authorization: str, session_id: str | None) -> Speaker:
    """Return who opens an event channel, or polls it; that counts as a request.

    :raises UnauthenticatedError: when it is nobody known.
    :raises RateLimitedError: when this speaker, or unknown ones at this address, ask too often.
    """
    speaker = identify_from(address, authorization, session_id, now=clock.now())
    require_room(_name(speaker), _limit(speaker))
    return speaker


def require_body(speaker: Speaker, size: int) -> None:
    """Count the bytes of a large body before it is parsed, which takes time in proportion to them.

    :raises RateLimitedError: when this speaker has sent too many.
    """
    if size > _SMALL_BODY:
        require_room(f"body.{speaker.user}", 2 * settings.SDP_CHARACTERS_PER_MINUTE, size)


def require_readable(speaker: Speaker, sdp: str) -> None:
    """Count the characters of an SDP before it is read, which takes time in proportion to them.

    :raises RateLimitedError: when this speaker has sent too many.
    """
    require_room(f"sdp.{speaker.user}", settings.SDP_CHARACTERS_PER_MINUTE, min(len(sdp), SDP_LIMIT))
