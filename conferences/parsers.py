"""Parse request bodies up to 1 MiB: JSON objects and bare SDPs."""

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from conferences.costs import count_body
from events.authentication import principal_of
from events.exceptions import TooLargeError

BODY_LIMIT = 1024 * 1024  # bytes


def _text(stream: IO[bytes], context: Mapping[str, Any] | None) -> str:
    """Read a body and decode it as UTF-8.

    :raises TooLargeError: when it exceeds the limit.
    :raises RateLimitedError: when the principal's user has sent too many bytes in large bodies.
    :raises ParseError: when it is not UTF-8.
    """
    body = stream.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        raise TooLargeError("The body is too large.", limit=BODY_LIMIT)
    if context:
        count_body(principal_of(context["request"]), len(body))
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None


class BoundedJSONParser(BaseParser):
    """Parses a JSON object."""

    media_type: ClassVar[str] = "application/json"  # type: ignore[misc]

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object.

        :raises ParseError: when the body is not a JSON object.
        """
        try:
            parsed = json.loads(_text(stream, parser_context), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON.") from None
        if not isinstance(parsed, dict):
            raise ParseError("The body must be a JSON object.")
        return parsed


class SdpParser(BaseParser):
    """Parses a bare SDP as if it were the member `sdp` of a JSON object."""

    media_type: ClassVar[str] = "application/sdp"  # type: ignore[misc]

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return an object with the SDP as `sdp`."""
        return {"sdp": _text(stream, parser_context)}


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's parser accepts but JSON does not have."""
    raise ValueError(name)
