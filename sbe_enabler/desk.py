"""The support desk: Django's admin, with the conferences first."""

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

# The cookie of a browser that an account has logged in with, and for how long it counts.
_KNOWN_BROWSER = "known_browser"
_KNOWN_SECONDS = 365 * 86400
# Lookups that staff do not need.
_EXPRESSIONS = frozenset({"regex", "iregex"})
# What others call their parts of the admin, in the desk's own words.
_NAMES = {"rest_framework_api_key": "API keys", "auth": "Staff"}


class SupportDesk(admin.AdminSite):
    """The site at /admin/."""

    site_header = "SBE Enabler"
    site_title = "SBE Enabler"
    index_title = "Support desk"
    index_template = "admin/desk.html"
    # There are few lists, and all of them are wide.
    enable_nav_sidebar = False

    def admin_view(self, view: _View, cacheable: bool = False) -> Any:
        """Return the view as it is served to staff. It refuses a query that the database cannot answer (400).

        Lists take any lookup and any value from the address, and Django checks only some of them.
        """
        served = super().admin_view(view, cacheable)

        @wraps(served)
        def serve(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if any(not _EXPRESSIONS.isdisjoint(name.split("__")) for name in request.GET):
                raise SuspiciousOperation("A query has a regular expression, which may take minutes.")
            try:
                return served(request, *args, **kwargs)
            except (DataError, OverflowError, ValueError) as error:
                raise SuspiciousOperation(f"A query has an impossible value: {error}") from error

        return serve

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Log in, and remember the browser: see `lockout_parameters`."""
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            _remember_browser(response, request.user.get_username())
        return response

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the lists of the index: conferences, then sessions, then everything else."""
        rank = {"conferences": 0, "events": 1}
        return sorted(super().get_app_list(request, app_label), key=lambda app: rank.get(app["app_label"], len(rank)))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the lists, and how many conferences are live to those who may see them."""
        from conferences.models import Conference  # only here: this module is loaded before any model may be

        sees = request.user.has_perm("conferences.view_conference")
        live = Conference.objects.live().count() if sees else None
        return super().index(request, {**(extra_context or {}), "live_conferences": live})


def client_network(request: HttpRequest) -> str:
    """Return the address, or for IPv6 the network, whose failed logins are counted."""
    from events.authentication import network_of  # only here: this module is loaded before any model may be

    return network_of(request.META.get("REMOTE_ADDR", ""))


def _remember_browser(response: HttpResponse, username: str) -> None:
    """Give a browser the proof that this account has logged in with it."""
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
    """Tell whether this account has logged in with the browser before."""
    try:
        proof = request.COOKIES.get(_KNOWN_BROWSER, "")
        return bool(signing.loads(proof, salt=_KNOWN_BROWSER, max_age=_KNOWN_SECONDS) == username)
    except signing.BadSignature:
        return False


def lockout_parameters(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> list[str | list[str]]:
    """Return by what failed logins are counted: by address and by account.

    Anybody can fail to log in to an account. So that this does not lock out its owner, a browser that the account has
    logged in with is counted by itself.
    """
    username = (credentials or request.POST).get("username")
    return [["username", "ip_address"]] if _knows_browser(request, username) else ["ip_address", "username"]


def refuse_login(request: HttpRequest, *details: object) -> HttpResponse:
    """Answer a login from an address, or for an account, that is locked."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    text = f"Too many failed logins. Try again in {seconds} seconds."
    return HttpResponse(text, status=429, headers={"Retry-After": str(seconds)}, content_type="text/plain")


class SupportDeskConfig(AdminConfig):
    """Puts the support desk in the place of Django's own site."""

    default_site = "sbe_enabler.desk.SupportDesk"

    def ready(self) -> None:
        """Find the admin's parts, and name them."""
        super().ready()
        for label, name in _NAMES.items():
            apps.get_app_config(label).verbose_name = name
