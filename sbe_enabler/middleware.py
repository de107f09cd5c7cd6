"""Middleware for sync and async views."""

import re
import secrets
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

_CORRELATOR = re.compile(r"[\x21-\x7e]{1,128}")


def correlator_or_new(given: str) -> str:
    """Return the correlator that a client sent, or a new one if it is not 1 to 128 visible ASCII characters."""
    return given if _CORRELATOR.fullmatch(given) else secrets.token_hex(8)


def _correlator(request: HttpRequest) -> str:
    """Return the correlator of a request."""
    # Do not use `request.headers`: its first use caches the headers, before the new correlator is set.
    return correlator_or_new(request.META.get("HTTP_X_CORRELATOR", ""))


@sync_and_async_middleware
def correlate(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Set `x-correlator` on each response: the client's own, or a new one (protocol section 3)."""
    if iscoroutinefunction(get_response):

        async def correlate_async(request: HttpRequest) -> HttpResponseBase:
            request.META["HTTP_X_CORRELATOR"] = correlator = _correlator(request)
            response: HttpResponseBase = await get_response(request)
            response["x-correlator"] = correlator
            return response

        return correlate_async

    def correlate_sync(request: HttpRequest) -> HttpResponseBase:
        request.META["HTTP_X_CORRELATOR"] = correlator = _correlator(request)
        response = get_response(request)
        assert isinstance(response, HttpResponseBase)  # noqa: S101 - narrows the type of a sync chain
        response["x-correlator"] = correlator
        return response

    return correlate_sync
