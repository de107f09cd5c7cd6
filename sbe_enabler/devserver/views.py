"""The test page, and the two calls by which its JavaScript registers and sees who else has."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
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
# What a browser may say of itself; everything else stays here.
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
    """Show the test page, which may talk to the enabler and to nobody else."""
    enabler_url = public_url(request)
    response = render(request, "testpage/index.html", {"enabler_url": enabler_url})
    response["Content-Security-Policy"] = _content_security_policy(enabler_url)
    response["Permissions-Policy"] = ", ".join(f"{name}={who}" for name, who in _PERMISSIONS.items())
    response["Cache-Control"] = "no-cache"
    return response


def _content_security_policy(enabler_url: str) -> str:
    """Return the policy of the test page. No inline script or style, and nothing from another host."""
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


# No cookie means anything here, so there is no login that a foreign page could borrow; and a foreign page cannot
# send application/json without a preflight, which nothing here answers.
@method_decorator(csrf_exempt, name="dispatch")
class SessionsView(View):
    """`/dev/sessions`: register this browser; see who is registered."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Serve the request, or say in a problem document why not."""
        handler = {"GET": self.get, "POST": self.post}.get(request.method or "")
        try:
            if handler is None:
                raise ProblemError(405, "method-not-allowed", "This address knows GET and POST.")
            return await handler(request)
        except ProblemError as problem:
            return problem.response(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        """Register a session for whoever asks: this is a server for trials, it knows no passwords."""
        identity = _json_object(request)
        body = {field: identity[field] for field in _FIELDS if field in identity}
        if any(isinstance(value, dict | list) for value in body.values()):
            raise ProblemError(400, "malformed", "A name, number or device is a string.")
        return _pass_on(await ask(request, "POST", "/sessions", body=body))

    async def get(self, request: HttpRequest) -> HttpResponse:
        """List everybody who is registered."""
        sessions: list[object] = []
        parameters: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            response = await ask(request, "GET", "/sessions", parameters=parameters)
            if response.status_code != httpx.codes.OK:
                return _pass_on(response)
            page = response.json()
            sessions += page["sessions"]
            if not page["next"]:
                break
            parameters = {"after": page["next"]}
        return _uncached(JsonResponse({"sessions": sessions}))


def _json_object(request: HttpRequest) -> dict[str, object]:
    """Return the body of a request.

    :raises ProblemError: when it is too large, of another type, or no JSON object.
    """
    if request.content_type != "application/json":
        raise ProblemError(415, "unsupported-media-type", "Send application/json.")
    if len(request.body) > _BODY_LIMIT:
        raise ProblemError(413, "too-large", f"A body has at most {_BODY_LIMIT} bytes here.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ProblemError(400, "malformed", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ProblemError(400, "malformed", "The body must be a JSON object.")
    return body


def _pass_on(response: httpx.Response) -> HttpResponse:
    """Give the browser the enabler's answer as it is."""
    answer = HttpResponse(response.content, status=response.status_code, content_type=response.headers["content-type"])
    if retry_after := response.headers.get("retry-after"):
        answer["Retry-After"] = retry_after
    return _uncached(answer)


def _uncached(response: HttpResponse) -> HttpResponse:
    """Keep tokens and presence out of caches."""
    response["Cache-Control"] = "no-store"
    return response
