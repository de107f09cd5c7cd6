"""The support desk: Django's admin, with the conferences first."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest


class SupportDesk(admin.AdminSite):
    """The site at /admin/."""

    site_header = "SBE Enabler"
    site_title = "SBE Enabler"
    index_title = "Support desk"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the lists of the index, the conferences before everything else."""
        return sorted(super().get_app_list(request, app_label), key=lambda app: app["app_label"] != "conferences")


class SupportDeskConfig(AdminConfig):
    """Puts the support desk in the place of Django's own site."""

    default_site = "sbe_enabler.desk.SupportDesk"
