"""The enabler as the Dev Server sees it: REST and an API key."""

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
# A connection pool belongs to the loop that it was made on.
_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient]" = WeakKeyDictionary()


def client() -> httpx.AsyncClient:
    """Return this loop's client. It follows no redirect and takes no proxy from the environment."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(
            verify=_trust(), timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=False, trust_env=False
        )
    return _clients[loop]


def _trust() -> ssl.SSLContext:
    """Return whom to believe: the usual authorities, and this very server's own certificate if it has one."""
    context = ssl.create_default_context()
    if settings.TLS_CERTIFICATE:
        context.load_verify_locations(settings.TLS_CERTIFICATE)
    return context


def public_url(request: HttpRequest) -> str:
    """Return where the browser finds the enabler: the one configured, otherwise where the page came from."""
    return settings.SBE_ENABLER_URL or request.build_absolute_uri("/").rstrip("/")


def _own_url(request: HttpRequest) -> str:
    """Return this very server's address: the one that the request came in at.

    :raises ProblemError: when the server listens on something that has no address, such as a Unix socket.
    """
    scope: dict[str, Any] = getattr(request, "scope", {})
    server = scope.get("server")
    if not server or server[1] is None:
        raise ProblemError(503, "enabler-unreachable", "The Dev Server needs SBE_ENABLER_URL to find the enabler.")
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"{scope.get('scheme', 'http')}://{host}:{server[1]}"


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return who speaks, and what of the browser's request goes on.

    The enabler makes the URLs in its answers from the host and scheme that it sees; on this very server those
    must be the ones that the browser used. An `Idempotency-Key` stays here: all browsers share the Dev Server's API
    key, so the enabler would repeat one browser's token to another that sends the same key.
    """
    headers = {"authorization": f"Api-Key {_api_key()}", "x-correlator": request.headers["x-correlator"]}
    if not settings.SBE_ENABLER_URL:
        headers["host"] = request.get_host()
        if settings.USE_X_FORWARDED_HOST:
            headers |= {"x-forwarded-host": request.get_host(), "x-forwarded-proto": str(request.scheme)}
    return headers


def _api_key() -> str:
    """Return the API key: the one configured, otherwise the one that the first start wrote.

    :raises ProblemError: when there is neither.
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
    """Make one call for the browser's `request` and return the enabler's answer, whatever its status.

    :raises ProblemError: when no answer of the enabler's comes.
    """
    base = settings.SBE_ENABLER_URL or _own_url(request)
    try:
        response = await client().request(method, base + path, json=body, params=parameters, headers=_headers(request))
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        logger.warning("the enabler at %s cannot be reached: %s", base, type(error).__name__)
        raise ProblemError(502, "enabler-unreachable", "The enabler cannot be reached.") from error
    if not _is_json(response):
        logger.warning("%s answered %s, which is not the enabler's", base, response.status_code)
        raise ProblemError(502, "enabler-unreachable", "Something other than the enabler answered.")
    return response


def _is_json(response: httpx.Response) -> bool:
    """Return whether the answer is a JSON document, as all of the enabler's are."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {"application/json", "application/problem+json"}
