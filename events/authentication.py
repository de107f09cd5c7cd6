"""Authenticate a session by its token, or a gateway by its API key (protocol section 3).

A gateway makes requests for itself, or for the session that `x-session-id` names.
"""

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
class Principal:
    """The session or gateway that makes a request. `gateway` is the prefix of the request's API key, if any."""

    session: Session | None
    gateway: str | None = None

    is_authenticated = True

    @property
    def name(self) -> str:
        """The key for counting requests and for keeping the responses to requests with an `Idempotency-Key`."""
        return f"session.{self.session.pk}" if self.session else f"gateway.{self.gateway}"

    @property
    def user(self) -> str:
        """The key for limits that all devices of a user share."""
        return f"user.{key_of(self.session.username)}" if self.session else f"gateway.{self.gateway}"


def identify(authorization: str, session_id: str | None, *, now: datetime) -> Principal:
    """Return the session or gateway that the `Authorization` and `x-session-id` headers identify.

    :raises UnauthenticatedError: when the credentials are missing or unknown.
    """
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return Principal(session_by_token(credential.strip(), now=now))
    if scheme.lower() == "api-key":
        return _gateway(credential.strip(), session_id, now=now)
    raise UnauthenticatedError


def identify_from(address: str, authorization: str, session_id: str | None, *, now: datetime) -> Principal:
    """Identify a client, and count each request with unknown credentials against its network address.

    :raises UnauthenticatedError: when the credentials are missing or unknown.
    :raises RateLimitedError: when this address sent unknown credentials too often.
    """
    try:
        return identify(authorization, session_id, now=now)
    except UnauthenticatedError:
        require_room(f"unknown.{network_of(address)}", settings.UNKNOWN_TOKENS_PER_MINUTE)
        raise


def network_of(address: str) -> str:
    """Return the address block of one client: its IPv4 address, or its IPv6 /64 network."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if isinstance(parsed, IPv6Address):
        # A dual-stack socket reports IPv4 clients as ::ffff:a.b.c.d. Take the IPv4 address from it, because all these
        # IPv6 addresses belong to one /64 network.
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
    return str(parsed)


def session_by_token(token: str, *, now: datetime) -> Session:
    """Return the live session with this token.

    :raises UnauthenticatedError: when no live session has this token.
    """
    found = _BY_TOKEN.objects(now=now, token_hash=hash_token(token))
    if not found:
        raise UnauthenticatedError("The token does not belong to a live session. Register again.")
    return found[0]


# Nearly every request executes this query.
_BY_TOKEN = Prepared(
    lambda now, token_hash: Session.objects.live(now).filter(token_hash=token_hash).order_by(),
    now=datetime,
    token_hash=str,
)


def _gateway(key: str, session_id: str | None, *, now: datetime) -> Principal:
    """Return the gateway with this API key and the session that it acts for, if any."""
    try:
        api_key = APIKey.objects.get_from_key(key)
    except APIKey.DoesNotExist:
        raise UnauthenticatedError("The API key is not valid.") from None
    if api_key.has_expired:
        raise UnauthenticatedError("The API key has expired.")
    session = None
    if session_id is not None:
        session = Session.objects.live(now).filter(pk=session_id.replace("\0", "")).first()
        if session is None or session.pk != session_id:
            raise UnauthenticatedError("The header 'x-session-id' does not name a live session.")
    return Principal(session, gateway=api_key.prefix)


class PrincipalAuthentication(BaseAuthentication):
    """DRF authentication that sets `request.user` to a `Principal`."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """Identify the client by its headers; return None when it sends no `Authorization`."""
        authorization = request.headers.get("authorization")
        if authorization is None:
            return None
        address = request.META.get("REMOTE_ADDR", "")
        return identify_from(address, authorization, request.headers.get("x-session-id"), now=clock.now()), None

    def authenticate_header(self, request: Request) -> str:
        """Return the `WWW-Authenticate` challenge of a 401."""
        return "Bearer"


def principal_of(request: Request) -> Principal:
    """Return the session or gateway that makes an authenticated request."""
    assert isinstance(request.user, Principal)  # noqa: S101 - narrows the type
    return request.user
