"""The test page, and the two requests by which its JavaScript registers a session and lists all sessions."""

import io
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import segno
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from sbe_enabler.devserver.enabler import ask, public_url
from sbe_enabler.devserver.problems import ProblemError

_BODY_LIMIT = 4096  # bytes
_MOST_PAGES = 20
# The longest address to encode, in characters.
_LONGEST_ADDRESS = 512
# The fields of a registration that are forwarded to the enabler.
_FIELDS = ("username", "vtn", "icmn", "device")
_PERMISSIONS = {
    "accelerometer": "()",
    "camera": "(self)",
    "display-capture": "(self)",
    "geolocation": "()",
    "gyroscope": "()",
    "microphone": "(self)",
    "payment": "()",
    "screen-wake-lock": "(self)",
    "usb": "()",
}


@require_safe
def test_page(request: HttpRequest) -> HttpResponse:
    """Return the test page. Its policy allows connections only to this server and the enabler."""
    enabler_url = public_url(request)
    response = render(request, "testpage/index.html", {"enabler_url": enabler_url})
    response["Content-Security-Policy"] = _content_security_policy(enabler_url)
    response["Permissions-Policy"] = ", ".join(f"{name}={who}" for name, who in _PERMISSIONS.items())
    response["Cache-Control"] = "no-cache"
    return response


@require_safe
def qr_code(request: HttpRequest) -> HttpResponse:
    """Return the QR code of an address of this server (`?text=`), for another device's camera."""
    text = request.GET.get("text", "")
    if not text.startswith(request.build_absolute_uri("/")) or len(text) > _LONGEST_ADDRESS:
        return ProblemError(400, "malformed", "Send an address of this server in 'text'.").response(request)
    svg = io.BytesIO()
    # A fixed mask: to try all of them would take five times as long, and anyone may ask for a code.
    segno.make(text, micro=False, mask=0).save(svg, kind="svg", scale=4, border=2, dark="#000", light="#fff")
    return HttpResponse(svg.getvalue(), content_type="image/svg+xml", headers={"Cache-Control": "no-store"})


def _content_security_policy(enabler_url: str) -> str:
    """Return the test page's policy: no inline scripts or styles, and nothing from other hosts except the enabler."""
    parts = urlsplit(enabler_url)
    web_socket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "media-src 'self' blob: mediastream:",
            f"connect-src 'self' {parts.scheme}://{parts.netloc} {web_socket}",
            "font-src 'none'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


# CSRF protection is not needed: these requests use no cookies. Also, a page of another origin cannot send
# application/json without a preflight request, which this server does not allow here.
@method_decorator(csrf_exempt, name="dispatch")
class SessionsView(View):
    """`/dev/sessions`: register a session for this browser; list the registered sessions."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Handle the request. Turn a ProblemError into a problem document."""
        handler = {"GET": self.get, "POST": self.post}.get(request.method or "")
        try:
            if handler is None:
                raise ProblemError(405, "method-not-allowed", "This address supports GET and POST.")
            return await handler(request)
        except ProblemError as problem:
            return problem.response(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        """Register a session with the identity in the body. This server is only for trials and has no passwords."""
        identity = _json_object(request)
        body = {field: identity[field] for field in _FIELDS if field in identity}
        if any(isinstance(value, dict | list) for value in body.values()):
            raise ProblemError(400, "malformed", "A name, number or device must be a string.")
        return _forward(await ask(request, "POST", "/sessions", body=body))

    async def get(self, request: HttpRequest) -> HttpResponse:
        """List the registered sessions: at most the first _MOST_PAGES pages of the enabler's list."""
        sessions: list[object] = []
        parameters: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            response = await ask(request, "GET", "/sessions", parameters=parameters)
            if response.status_code != httpx.codes.OK:
                return _forward(response)
            page = response.json()
            sessions += page["sessions"]
            if not page["next"]:
                break
            parameters = {"after": page["next"]}
        return _uncached(JsonResponse({"sessions": sessions}))


def _json_object(request: HttpRequest) -> dict[str, object]:
    """Parse the body of a request.

    :raises ProblemError: when the body is too large, has another media type, or is not a JSON object.
    """
    if request.content_type != "application/json":
        raise ProblemError(415, "unsupported-media-type", "Send application/json.")
    if len(request.body) > _BODY_LIMIT:
        raise ProblemError(413, "too-large", f"The body must have at most {_BODY_LIMIT} bytes.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ProblemError(400, "malformed", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ProblemError(400, "malformed", "The body must be a JSON object.")
    return body


def _forward(response: httpx.Response) -> HttpResponse:
    """Forward the enabler's response to the browser: status, body, media type and `Retry-After`."""
    answer = HttpResponse(response.content, status=response.status_code, content_type=response.headers["content-type"])
    if retry_after := response.headers.get("retry-after"):
        answer["Retry-After"] = retry_after
    return _uncached(answer)


def _uncached(response: HttpResponse) -> HttpResponse:
    """Prevent caches from storing the response, because it contains tokens or the presence of users."""
    response["Cache-Control"] = "no-store"
    return response
