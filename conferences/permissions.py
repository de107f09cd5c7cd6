"""Permissions of views: for sessions, or for gateways (API keys)."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from events.authentication import Principal
from events.exceptions import ForbiddenError, UnauthenticatedError


class SpeaksForSession(BasePermission):
    """Allows a session, or a gateway if it names the session that it speaks for."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the request has credentials.

        :raises UnauthenticatedError: when it has an API key but names no session.
        """
        if isinstance(request.user, Principal) and request.user.session is None:
            raise UnauthenticatedError("Name the session that you speak for in the header 'x-session-id'.")
        return isinstance(request.user, Principal)


class IsGateway(BasePermission):
    """Allows only an API key."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True.

        :raises UnauthenticatedError: when the request has no credentials.
        :raises ForbiddenError: when it has the token of a session.
        """
        if not isinstance(request.user, Principal):
            raise UnauthenticatedError("Send an API key as 'Authorization: Api-Key …'.")
        if request.user.gateway is None:
            raise ForbiddenError("This request needs an API key.")
        return True
