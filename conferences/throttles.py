"""How many requests one speaker may make in a minute, over REST and over the event channel."""

import math
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from conferences.authentication import Speaker, identify_from
from conferences.counters import take
from conferences.exceptions import RateLimitedError

if TYPE_CHECKING:
    # DRF's views load this module through the settings before they are complete.
    from rest_framework.views import APIView


class SpeakerThrottle(BaseThrottle):
    """Counts requests per session, or per API key where a gateway speaks for itself."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Tell whether the speaker may go on."""
        if isinstance(request.user, Speaker):
            self._wait = take(f"requests.{request.user.name}", _limit(request.user))
        return not self._wait

    def wait(self) -> float:
        """Return the seconds after which the speaker may ask again."""
        return self._wait


def _limit(speaker: Speaker) -> int:
    """Return how many requests a speaker may make in a minute."""
    limit: int = settings.REQUESTS_PER_MINUTE if speaker.gateway is None else settings.GATEWAY_REQUESTS_PER_MINUTE
    return limit


def admit(address: str, authorization: str, session_id: str | None, *, now: datetime) -> Speaker:
    """Return who opens an event channel, or polls it; that counts as a request.

    :raises UnauthenticatedError: when it is nobody known.
    :raises RateLimitedError: when this speaker, or unknown ones at this address, ask too often.
    """
    speaker = identify_from(address, authorization, session_id, now=now)
    if wait := take(f"requests.{speaker.name}", _limit(speaker)):
        raise RateLimitedError(headers={"Retry-After": str(math.ceil(wait))})
    return speaker
