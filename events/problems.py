"""Turn refusals into problem documents (RFC 9457); `handle_exception` is the exception handler of all REST views."""

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions as drf

from events import exceptions as refusals

logger = logging.getLogger(__name__)

# The errors of a database that is unreachable or hangs, and the `Retry-After` of the 503 response to them.
OUTAGE = (OperationalError, InterfaceError)
_OUTAGE_SECONDS = 2

PROBLEM_TYPE = "application/problem+json"

# RFC 9110 changed these phrases; Python 3.11 and 3.12 have the old ones.
_NEW_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status (RFC 9110 section 15)."""
    return _NEW_PHRASES.get(status) or HTTPStatus(status).phrase


def problem_document(
    status: int, code: str, detail: str, correlator: str | None, **fields: object
) -> dict[str, object]:
    """Build a problem document (RFC 9457) with a stable `code`, a `detail` for people, and further `fields`."""
    return {
        "type": "about:blank",
        "title": reason_phrase(status),
        "status": status,
        "code": code,
        "detail": detail,
        "xCorrelator": correlator,
        **fields,
    }


def problem_response(
    request: HttpRequest,
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **fields: object,
) -> HttpResponse:
    """Return a response with a problem document and the request's correlator."""
    document = problem_document(status, code, detail, request.headers.get("x-correlator"), **fields)
    return JsonResponse(document, status=status, headers=headers, content_type=PROBLEM_TYPE)


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Answer a request whose view raised an error; return None for an unexpected error, which becomes a 500."""
    refusal = _refusal(error)
    if refusal is None:
        return None
    if isinstance(refusal, refusals.UnauthenticatedError):
        refusal.headers["WWW-Authenticate"] = "Bearer"
    return refuse(context["request"], refusal)


def refuse(request: HttpRequest, refusal: refusals.RefusalError) -> HttpResponse:
    """Return the response for a refusal."""
    response = problem_response(
        request, refusal.status, refusal.code, refusal.detail, headers=refusal.headers, **refusal.fields
    )
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        # Mark the response as logged: Django logs every other 5xx response as an error.
        response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def refuse_outage(request: HttpRequest, error: Exception) -> HttpResponse:
    """Log a database error; return the response for the request that could not use the database."""
    return refuse(request, _outage(error))


def log_outage(error: Exception) -> None:
    """Log a database error as a warning."""
    logger.warning("The database cannot be used: %s", error)


def _outage(error: Exception) -> refusals.DatabaseUnavailableError:
    """Log a database error; return the refusal."""
    log_outage(error)
    return refusals.DatabaseUnavailableError(headers={"Retry-After": str(_OUTAGE_SECONDS)})


def _refusal(error: Exception) -> refusals.RefusalError | None:
    """Translate an error of Django, DRF or the database to a refusal; return None for an unexpected error."""
    match error:
        case refusals.RefusalError():
            return error
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return refusals.UnauthenticatedError()
        case drf.PermissionDenied() | PermissionDenied():
            return refusals.ForbiddenError()
        case drf.NotFound() | Http404():
            return refusals.NotFoundError()
        case drf.MethodNotAllowed():
            return refusals.MethodNotAllowedError()
        case drf.NotAcceptable():
            return refusals.NotAcceptableError()
        case drf.UnsupportedMediaType():
            return refusals.UnsupportedMediaTypeError()
        case drf.Throttled():
            seconds = str(int(getattr(error, "wait", None) or 0) + 1)
            return refusals.RateLimitedError(headers={"Retry-After": seconds})
        case drf.ValidationError():
            return refusals.MalformedError("A field is missing or invalid.", errors=error.detail)
        case drf.ParseError():
            return refusals.MalformedError(str(error.detail))
        case _ if isinstance(error, OUTAGE):
            return _outage(error)
        case RequestDataTooBig():
            return refusals.TooLargeError()
    return None
