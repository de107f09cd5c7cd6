"""Large bodies and long descriptions are counted before they are read: reading takes time in proportion to them."""

from django.conf import settings

from conferences.sdp import SDP_LIMIT
from events.authentication import Speaker
from events.counters import require_room

# Bodies up to this many bytes are bounded by the number of requests alone.
_SMALL_BODY = 64 * 1024


def require_body(speaker: Speaker, size: int) -> None:
    """Count the bytes of a large body before it is parsed.

    :raises RateLimitedError: when this speaker has sent too many.
    """
    if size > _SMALL_BODY:
        require_room(f"body.{speaker.user}", 2 * settings.SDP_CHARACTERS_PER_MINUTE, size)


def require_readable(speaker: Speaker, sdp: str) -> None:
    """Count the characters of an SDP before it is parsed.

    :raises RateLimitedError: when this speaker has sent too many.
    """
    require_room(f"sdp.{speaker.user}", settings.SDP_CHARACTERS_PER_MINUTE, min(len(sdp), SDP_LIMIT))
