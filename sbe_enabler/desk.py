"""The support desk: Django's admin, with the conferences first."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

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

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the lists of the index, the conferences before everything else."""
        return sorted(super().get_app_list(request, app_label), key=lambda app: app["app_label"] != "conferences")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the lists, and how many conferences are live to those who may see them."""
        from conferences.models import Conference  # only here: this module is loaded before any model may be

        sees = request.user.has_perm("conferences.view_conference")
        live = Conference.objects.live().count() if sees else None
        return super().index(request, {**(extra_context or {}), "live_conferences": live})


def client_network(request: HttpRequest) -> str:
    """Return the address, or for IPv6 the network, whose failed logins are counted."""
    from conferences.authentication import network_of  # only here: this module is loaded before any model may be

    return network_of(request.META.get("REMOTE_ADDR", ""))


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
