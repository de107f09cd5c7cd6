"""Rate limits on the bytes of large bodies and the characters of SDPs.

The bytes and characters are counted before the text is parsed, because parsing takes time.
"""

from django.conf import settings

from conferences.sdp import SDP_LIMIT
from events.authentication import Principal
from events.counters import require_room

# Bodies up to this many bytes are not counted: the limit on the number of requests bounds their bytes too.
_SMALL_BODY = 64 * 1024


def count_body(principal: Principal, size: int) -> None:
    """Count the bytes of a large body. Call it before the body is parsed.

    :raises RateLimitedError: when the principal's user has sent too many bytes in the last minute.
    """
    if size > _SMALL_BODY:
        require_room(f"body.{principal.user}", 2 * settings.SDP_CHARACTERS_PER_MINUTE, size)


def count_sdp(principal: Principal, sdp: str) -> None:
    """Count the characters of an SDP. Call it before the SDP is parsed.

    :raises RateLimitedError: when the principal's user has sent too many characters in the last minute.
    """
    require_room(f"sdp.{principal.user}", settings.SDP_CHARACTERS_PER_MINUTE, min(len(sdp), SDP_LIMIT))
