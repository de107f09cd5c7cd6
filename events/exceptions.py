"""The general refusals of requests, each with its status, code and default `detail` (protocol section 8).

`conferences.exceptions` contains the refusals that concern conferences.

RefusalError
├── MalformedError            400 malformed
├── UnauthenticatedError      401 unauthenticated
├── ForbiddenError            403 forbidden
├── NotFoundError             404 not-found
├── MethodNotAllowedError     405 method-not-allowed
├── NotAcceptableError        406 not-acceptable
├── ReaderReplacedError       409 reader-replaced
├── TooLargeError             413 too-large
├── UnsupportedMediaTypeError 415 unsupported-media-type
├── RateLimitedError          429 rate-limited
└── DatabaseUnavailableError  503 database-unavailable
"""

from typing import ClassVar


class RefusalError(Exception):
    """A refused request. It has changed nothing.

    `detail` is an explanation for people. `fields` are further members of the problem document, in camelCase. `headers`
    are added to the response.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    detail: str = ""

    def __init__(self, detail: str | None = None, *, headers: dict[str, str] | None = None, **fields: object) -> None:
        self.detail = detail or type(self).detail
        self.fields = fields
        self.headers = headers or {}
        super().__init__(self.detail)


class MalformedError(RefusalError):
    """The headers or the body cannot be parsed."""

    status, code = 400, "malformed"
    detail = "The headers or the body cannot be read."


class UnauthenticatedError(RefusalError):
    """The request has no valid credentials."""

    status, code = 401, "unauthenticated"
    detail = "Send a live session's token as 'Authorization: Bearer …', or an API key as 'Authorization: Api-Key …'."


class ForbiddenError(RefusalError):
    """The client is authenticated but may not do this."""

    status, code = 403, "forbidden"
    detail = "You may not do this."


class NotFoundError(RefusalError):
    """The resource does not exist, or this client may not see it."""

    status, code = 404, "not-found"
    detail = "The resource does not exist."


class MethodNotAllowedError(RefusalError):
    """The address exists but does not support the method."""

    status, code = 405, "method-not-allowed"
    detail = "This address does not support the method."


class NotAcceptableError(RefusalError):
    """The client accepts no media type that could be sent."""

    status, code = 406, "not-acceptable"
    detail = "This address answers with application/json."


class ReaderReplacedError(RefusalError):
    """Newer readers of the session's event channel replaced this poll."""

    status, code = 409, "reader-replaced"
    detail = "Newer connections to this session's event channel have replaced this one."


class TooLargeError(RefusalError):
    """The body or the SDP exceeds its limit. The field `limit`, if present, is the limit in bytes."""

    status, code = 413, "too-large"
    detail = "The request is too large."


class UnsupportedMediaTypeError(RefusalError):
    """The body has a media type that is not supported."""

    status, code = 415, "unsupported-media-type"
    detail = "Send application/json, or an SDP as application/sdp."


class RateLimitedError(RefusalError):
    """The client sent too many requests. `Retry-After` holds the seconds to wait."""

    status, code = 429, "rate-limited"
    detail = "Too many requests. Wait and try again."


class DatabaseUnavailableError(RefusalError):
    """The database is unreachable or took too long."""

    status, code = 503, "database-unavailable"
    detail = "The database does not answer. Try again soon."
