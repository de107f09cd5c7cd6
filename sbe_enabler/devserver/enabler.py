"""Call the enabler's REST API with an API key."""

import asyncio
import logging
import ssl
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from django.conf import settings
from django.http import HttpRequest

from sbe_enabler.devserver.problems import ProblemError

logger = logging.getLogger(__name__)

_TIMEOUT = httpx.Timeout(10, connect=3, pool=3)
_LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=10, keepalive_expiry=30)
# Each HTTP client belongs to the event loop on which its connections were opened.
_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient]" = WeakKeyDictionary()


def client() -> httpx.AsyncClient:
    """Return this loop's HTTP client. It follows no redirects and ignores proxy variables of the environment."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            verify=_tls_context(), timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=False, trust_env=False
        )
    return _clients[loop]


def _tls_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's authorities and this server's own certificate, if it has one."""
    context = ssl.create_default_context()
    if settings.TLS_CERTIFICATE:
        context.load_verify_locations(settings.TLS_CERTIFICATE)
    return context


def public_url(request: HttpRequest) -> str:
    """Return the enabler's URL for the browser: SBE_ENABLER_URL, otherwise the origin of the page."""
    return settings.SBE_ENABLER_URL or request.build_absolute_uri("/").rstrip("/")


def _own_url(request: HttpRequest) -> str:
    """Return the URL of this server itself: the address on which the request arrived.

    :raises ProblemError: when there is no such address, as with a Unix socket.
    """
    scope: dict[str, Any] = getattr(request, "scope", {})
    server = scope.get("server")
    if not server or server[1] is None:
        raise ProblemError(503, "enabler-unreachable", "The Dev Server needs SBE_ENABLER_URL to find the enabler.")
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"{scope.get('scheme', 'http')}://{host}:{server[1]}"


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return the headers for the enabler: the API key, and headers that are forwarded from the browser's request.

    The enabler builds the URLs in its responses from the host and scheme of the request. If the enabler is this server,
    host and scheme must be those of the browser's request. `Idempotency-Key` is not forwarded, because all browsers
    share one API key. If two browsers sent the same idempotency key, the second would get the first one's token.
    """
    headers = {"authorization": f"Api-Key {_api_key()}", "x-correlator": request.headers["x-correlator"]}
    if not settings.SBE_ENABLER_URL:
        headers["host"] = request.get_host()
        if settings.USE_X_FORWARDED_HOST:
            headers |= {"x-forwarded-host": request.get_host(), "x-forwarded-proto": str(request.scheme)}
    return headers


def _api_key() -> str:
    """Return the API key: SBE_API_KEY, otherwise the one that `quickstart` wrote.

    :raises ProblemError: when there is no API key.
    """
    try:
        key: str = settings.SBE_API_KEY or settings.DEMO_KEY_FILE.read_text().strip()
    except OSError:
        key = ""
    if not key:
        raise ProblemError(503, "api-key-missing", "The Dev Server has no API key: set SBE_API_KEY.")
    return key


async def ask(
    request: HttpRequest,
    method: str,
    path: str,
    *,
    body: dict[str, object] | None = None,
    parameters: dict[str, str] | None = None,
) -> httpx.Response:
    """Call the enabler on behalf of the browser's `request` and return its response, with any status.

    :raises ProblemError: when the enabler cannot be reached, or another program answers at its URL.
    """
    base = settings.SBE_ENABLER_URL or _own_url(request)
    try:
        response = await client().request(method, base + path, json=body, params=parameters, headers=_headers(request))
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        logger.warning("The enabler at %s cannot be reached: %s", base, type(error).__name__)
        raise ProblemError(502, "enabler-unreachable", "The enabler cannot be reached.") from error
    if not _is_json(response):
        logger.warning("%s answered %s without JSON, so it is not the enabler", base, response.status_code)
        raise ProblemError(502, "enabler-unreachable", "The response did not come from the enabler.")
    return response


def _is_json(response: httpx.Response) -> bool:
    """Return whether the response is JSON, as all responses of the enabler are."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {"application/json", "application/problem+json"}
