"""How many requests one speaker may make in a minute, over REST and over the event channel."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from events import clock
from events.authentication import Speaker, identify_from
from events.counters import require_room, take

if TYPE_CHECKING:
    # DRF's views load this module through the settings before they are complete.
    from rest_framework.views import APIView


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


def charge(speaker: Speaker, requests: int) -> None:
    """Count an answer that took as long as this many further requests.

    :raises RateLimitedError: when this speaker asks for too much.
    """
    if requests:
        require_room(_name(speaker), _limit(speaker), requests)


def admit(address: str, authorization: str, session_id: str | None) -> Speaker:
    """Return who opens an event channel, or polls it; that counts as a request.

    :raises UnauthenticatedError: when it is nobody known.
    :raises RateLimitedError: when this speaker, or unknown ones at this address, ask too often.
    """
    speaker = identify_from(address, authorization, session_id, now=clock.now())
    require_room(_name(speaker), _limit(speaker))
    return speaker
