"""How much one speaker may ask for, of each process that serves it."""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from conferences.authentication import Speaker

if TYPE_CHECKING:
    # DRF's views load this module through the settings before they are complete.
    from rest_framework.views import APIView


class SpeakerThrottle(SimpleRateThrottle):
    """Counts requests per session, or per API key where a gateway speaks for itself."""

    def get_rate(self) -> str:
        """Return the rate of a session; `allow_request` corrects it for a gateway."""
        return f"{settings.REQUESTS_PER_MINUTE}/min"

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Tell whether the speaker may go on."""
        if isinstance(request.user, Speaker) and request.user.gateway is not None:
            self.num_requests = settings.GATEWAY_REQUESTS_PER_MINUTE
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: "APIView") -> str | None:
        """Return under which key the speaker's requests are counted."""
        return f"throttle.{request.user.name}" if isinstance(request.user, Speaker) else None
