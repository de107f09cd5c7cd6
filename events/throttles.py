"""Limit the requests of one session or gateway per minute, over REST and the event channel together."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from events import clock
from events.authentication import Principal, identify_from
from events.counters import require_room, take

if TYPE_CHECKING:
    # Importing APIView at run time would be circular: DRF's views import this module through the settings.
    from rest_framework.views import APIView


class PrincipalThrottle(BaseThrottle):
    """DRF throttle that counts requests per session, or per API key if a gateway acts for itself."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; return whether it is allowed. Requests without credentials are not counted here."""
        if isinstance(request.user, Principal):
            self._wait = take(_name(request.user), _limit(request.user))
        return not self._wait

    def wait(self) -> float:
        """Return the seconds after which the client may try again."""
        return self._wait


def _name(principal: Principal) -> str:
    """Return the key under which the requests are counted."""
    return f"requests.{principal.name}"


def _limit(principal: Principal) -> int:
    """Return the number of requests allowed per minute."""
    limit: int = settings.REQUESTS_PER_MINUTE if principal.gateway is None else settings.GATEWAY_REQUESTS_PER_MINUTE
    return limit


def charge(principal: Principal, requests: int) -> None:
    """Count an expensive response as this many further requests.

    :raises RateLimitedError: when the limit does not allow them.
    """
    if requests:
        require_room(_name(principal), _limit(principal), requests)


def admit(address: str, authorization: str, session_id: str | None) -> Principal:
    """Authenticate a client that opens or polls an event channel, and count one request.

    :raises UnauthenticatedError: when the credentials are missing or unknown.
    :raises RateLimitedError: when the client made too many requests, or its address sent unknown credentials too often.
    """
    principal = identify_from(address, authorization, session_id, now=clock.now())
    require_room(_name(principal), _limit(principal))
    return principal
