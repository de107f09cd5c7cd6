"""Who may call what: sessions, or gateways."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from events.authentication import Speaker
from events.exceptions import ForbiddenError, UnauthenticatedError


class SpeaksForSession(BasePermission):
    """Lets only a session pass, or a gateway that names one."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether a session speaks."""
        if isinstance(request.user, Speaker) and request.user.session is None:
            raise UnauthenticatedError("Name the session that you speak for in the header 'x-session-id'.")
        return isinstance(request.user, Speaker)


class IsGateway(BasePermission):
    """Lets only an API key pass."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether a gateway speaks."""
        if not isinstance(request.user, Speaker):
            raise UnauthenticatedError("Send an API key as 'Authorization: Api-Key …'.")
        if request.user.gateway is None:
            raise ForbiddenError("This call needs an API key.")
        return True
