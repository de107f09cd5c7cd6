"""Who speaks: a session by its token, or a gateway by its API key, for itself or for a session (protocol section 3)."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework_api_key.models import APIKey

from events import clock
from events.counters import key_of, require_room
from events.exceptions import UnauthenticatedError
from events.models import Session, hash_token
from events.statements import Prepared


@dataclass(frozen=True)
class Speaker:
    """Who makes a request. `gateway` is the prefix of its API key, where it has one."""

    session: Session | None
    gateway: str | None = None

    is_authenticated = True

    @property
    def name(self) -> str:
        """The name under which requests are counted and answers kept."""
        return f"session.{self.session.pk}" if self.session else f"gateway.{self.gateway}"

    @property
    def user(self) -> str:
        """The name under which is counted what all devices of a user do together."""
        return f"user.{key_of(self.session.username)}" if self.session else f"gateway.{self.gateway}"


def identify(authorization: str, session_id: str | None, *, now: datetime) -> Speaker:
    """Return who speaks with these two headers.

    :raises UnauthenticatedError: when that is nobody known.
    """
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return Speaker(session_by_token(credential.strip(), now=now))
    if scheme.lower() == "api-key":
        return _gateway(credential.strip(), session_id, now=now)
    raise UnauthenticatedError


def identify_from(address: str, authorization: str, session_id: str | None, *, now: datetime) -> Speaker:
    """Do the same for a client at this address, whose unknown credentials are counted.

    :raises UnauthenticatedError: when it is nobody known.
    :raises RateLimitedError: when there have been too many of these.
    """
    try:
        return identify(authorization, session_id, now=now)
    except UnauthenticatedError:
        require_room(f"unknown.{network_of(address)}", settings.UNKNOWN_TOKENS_PER_MINUTE)
        raise


def network_of(address: str) -> str:
    """Return what one client can be expected to hold: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if isinstance(parsed, IPv6Address):
        # A socket for both families shows an IPv4 client this way. All of these lie in one IPv6 network.
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
    return str(parsed)


def session_by_token(token: str, *, now: datetime) -> Session:
    """Return the live session with this token.

    :raises UnauthenticatedError: when there is none.
    """
    found = _BY_TOKEN.objects(now=now, token_hash=hash_token(token))
    if not found:
        raise UnauthenticatedError("This token belongs to no live session: register again.")
    return found[0]


# Nearly every request executes it.
_BY_TOKEN = Prepared(
    lambda now, token_hash: Session.objects.live(now).filter(token_hash=token_hash).order_by(),
    now=datetime,
    token_hash=str,
)


def _gateway(key: str, session_id: str | None, *, now: datetime) -> Speaker:
    """Return the gateway with this key, and the session that it speaks for."""
    try:
        api_key = APIKey.objects.get_from_key(key)
    except APIKey.DoesNotExist:
        raise UnauthenticatedError("This API key is not valid.") from None
    if api_key.has_expired:
        raise UnauthenticatedError("This API key has expired.")
    session = None
    if session_id is not None:
        session = Session.objects.live(now).filter(pk=session_id.replace("\0", "")).first()
        if session is None or session.pk != session_id:
            raise UnauthenticatedError("The header 'x-session-id' names no live session.")
    return Speaker(session, gateway=api_key.prefix)


class SpeakerAuthentication(BaseAuthentication):
    """Sets `request.user` to the `Speaker`."""

    def authenticate(self, request: Request) -> tuple[Speaker, None] | None:
        """Identify the speaker by the request's headers."""
        authorization = request.headers.get("authorization")
        if authorization is None:
            return None
        address = request.META.get("REMOTE_ADDR", "")
        return identify_from(address, authorization, request.headers.get("x-session-id"), now=clock.now()), None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that goes with a 401."""
        return "Bearer"


def speaker_of(request: Request) -> Speaker:
    """Return who makes a request that the permissions have let pass."""
    assert isinstance(request.user, Speaker)  # noqa: S101 - narrows the type
    return request.user
