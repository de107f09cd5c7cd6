"""The support desk: Django's admin site with conferences first, safe lookups and limited logins."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse

_View = Callable[..., HttpResponseBase]

# The cookie that marks a browser in which an account has logged in, and the seconds for which it is valid.
_KNOWN_BROWSER = "known_browser"
_KNOWN_SECONDS = 365 * 86400
# Staff do not need these lookups, which may take minutes.
_EXPRESSIONS = frozenset({"regex", "iregex"})
# Our names for the admin sections of other applications.
_NAMES = {"rest_framework_api_key": "API keys", "auth": "Staff"}


class SupportDesk(admin.AdminSite):
    """The admin site at `/admin/`."""

    site_header = "SBE Enabler"
    site_title = "SBE Enabler"
    index_title = "Support desk"
    index_template = "admin/desk.html"
    # The site has few lists, and they need the width that the sidebar would take.
    enable_nav_sidebar = False

    def admin_view(self, view: _View, cacheable: bool = False) -> Any:
        """Wrap a view so that it answers 400 to queries that the database cannot answer.

        Lists accept any lookup and any value in the query string, and Django checks only some of them.
        """
        served = super().admin_view(view, cacheable)

        @wraps(served)
        def serve(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if any(not _EXPRESSIONS.isdisjoint(name.split("__")) for name in request.GET):
                raise SuspiciousOperation("The query contains a regular expression, which may take minutes.")
            try:
                return served(request, *args, **kwargs)
            except (DataError, OverflowError, ValueError) as error:
                raise SuspiciousOperation(f"The query contains an invalid value: {error}") from error

        return serve

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Log in, and set the cookie by which `lockout_parameters` recognizes the browser."""
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            _remember_browser(response, request.user.get_username())
        return response

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the applications of the index page: conferences, then sessions, then the others."""
        rank = {"conferences": 0, "events": 1}
        return sorted(super().get_app_list(request, app_label), key=lambda app: rank.get(app["app_label"], len(rank)))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the index page. Staff who may view conferences also see the number of live ones."""
        from conferences.models import Conference  # here, because this module loads before models can be imported

        sees = request.user.has_perm("conferences.view_conference")
        live = Conference.objects.live().count() if sees else None
        return super().index(request, {**(extra_context or {}), "live_conferences": live})


def client_network(request: HttpRequest) -> str:
    """Return the key for counting failed logins: an IPv4 address or an IPv6 /64 network."""
    from events.authentication import network_of  # here, because this module loads before models can be imported

    return network_of(request.META.get("REMOTE_ADDR", ""))


def _remember_browser(response: HttpResponse, username: str) -> None:
    """Set a signed cookie which proves that this account has logged in with this browser."""
    response.set_cookie(
        _KNOWN_BROWSER,
        signing.dumps(username, salt=_KNOWN_BROWSER),
        max_age=_KNOWN_SECONDS,
        path="/admin/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def _knows_browser(request: HttpRequest, username: object) -> bool:
    """Return whether a valid cookie proves that this account has logged in with this browser."""
    try:
        proof = request.COOKIES.get(_KNOWN_BROWSER, "")
        return bool(signing.loads(proof, salt=_KNOWN_BROWSER, max_age=_KNOWN_SECONDS) == username)
    except signing.BadSignature:
        return False


def lockout_parameters(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> list[str | list[str]]:
    """Return the keys by which failed logins are counted: the address, and separately the account.

    A stranger's failed logins must not lock out the account's owner. So if the account has logged in with this browser
    before, its failed logins have a counter of their own, for account and address together.
    """
    username = (credentials or request.POST).get("username")
    return [["username", "ip_address"]] if _knows_browser(request, username) else ["ip_address", "username"]


def refuse_login(request: HttpRequest, *details: object) -> HttpResponse:
    """Return the 429 response for a locked address or account."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    text = f"Too many failed logins. Try again in {seconds} seconds."
    return HttpResponse(text, status=429, headers={"Retry-After": str(seconds)}, content_type="text/plain")


class SupportDeskConfig(AdminConfig):
    """Makes the support desk the default admin site."""

    default_site = "sbe_enabler.desk.SupportDesk"

    def ready(self) -> None:
        """Discover the admin modules, and rename the sections in _NAMES."""
        super().ready()
        for label, name in _NAMES.items():
            apps.get_app_config(label).verbose_name = name
