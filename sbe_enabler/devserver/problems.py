"""Refusals of the Dev Server, in the same format as the enabler's (RFC 9457, protocol section 8)."""

from http import HTTPStatus

from django.http import HttpRequest, JsonResponse


class ProblemError(Exception):
    """A request that the Dev Server refuses or cannot serve."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        """Take the status, a stable `code` for programs, and a `detail` for people."""
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail

    def response(self, request: HttpRequest) -> JsonResponse:
        """Return the problem document."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "xCorrelator": request.headers.get("x-correlator"),
        }
        return JsonResponse(document, status=self.status, content_type="application/problem+json")
