"""The ICE servers that a session may use, with TURN REST credentials."""

import base64
import hashlib
import hmac
from datetime import datetime

from django.conf import settings


def ice_servers(username: str, expires_at: datetime) -> list[dict[str, object]]:
    """Return `RTCIceServer` dictionaries. The TURN credential expires with the session.

    The credential is the base64 HMAC-SHA-1 of "<expiry>:<name>", keyed with the secret that this service shares with
    the TURN server (draft-uberti-behave-turn-rest-00). TURN servers require this algorithm.
    """
    servers: list[dict[str, object]] = []
    if settings.STUN_URLS:
        servers.append({"urls": settings.STUN_URLS})
    if settings.TURN_URLS:
        name = f"{int(expires_at.timestamp())}:{username}"
        mac = hmac.new(settings.TURN_SECRET.encode(), name.encode(), hashlib.sha1)
        credential = base64.b64encode(mac.digest()).decode()
        servers.append({"urls": settings.TURN_URLS, "username": name, "credential": credential})
    return servers
