"""All URLs of the service, and the responses to requests that match no URL."""

import sys

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views import defaults
from django.views.csrf import csrf_failure
from django.views.generic import RedirectView

from events.problems import OUTAGE, problem_response, refuse_outage
from sbe_enabler.description import DescriptionView
from sbe_enabler.health import healthz

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("conferences.urls")),
    path("", include("events.urls")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("api", RedirectView.as_view(pattern_name="schema")),
    path("api/", RedirectView.as_view(pattern_name="schema")),
    path("api/schema", DescriptionView.as_view(), name="schema"),
]
if settings.DEV_SERVER:
    urlpatterns.append(path("", include("sbe_enabler.devserver.urls")))


def _is_for_admin(request: HttpRequest) -> bool:
    """Return whether the request is for the admin, so that the response must be a page for people."""
    return request.path.startswith("/admin/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses, such as a request for an unknown host."""
    if _is_for_admin(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, DisallowedHost):
        return problem_response(request, 400, "malformed", "The server does not accept this host (SBE_ALLOWED_HOSTS).")
    return problem_response(request, 400, "malformed", "The request is malformed.")


def unsafe_method(request: HttpRequest, reason: str) -> HttpResponse:
    """Answer a request that failed Django's CSRF check. Outside the admin, only read-only addresses have that check."""
    if _is_for_admin(request):
        return csrf_failure(request, reason)
    response = problem_response(request, 405, "method-not-allowed", "This address is read-only.")
    response["Allow"] = "GET, HEAD"
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request for a path that does not exist."""
    if _is_for_admin(request):
        return defaults.page_not_found(request, exception)
    return problem_response(request, 404, "not-found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a request that failed: 503 for an outage of the database, 500 for an unexpected error."""
    error = sys.exc_info()[1]
    if isinstance(error, OUTAGE):
        return refuse_outage(request, error)
    if _is_for_admin(request):
        return defaults.server_error(request)
    return problem_response(request, 500, "internal-error", "The server failed. The request was not the cause.")


handler400 = bad_request
handler404 = not_found
handler500 = server_error
