"""Read request bodies: JSON, or a bare SDP. Never more than the limit."""

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from conferences.costs import require_body
from events.authentication import speaker_of
from events.exceptions import TooLargeError

BODY_LIMIT = 1024 * 1024  # bytes


def _text(stream: IO[bytes], context: Mapping[str, Any] | None) -> str:
    """Read the body as UTF-8.

    :raises TooLargeError: when it exceeds the limit.
    :raises RateLimitedError: when the speaker has sent too many large ones.
    :raises ParseError: when it is not UTF-8.
    """
    body = stream.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        raise TooLargeError("The body is too large.", limit=BODY_LIMIT)
    if context:
        require_body(speaker_of(context["request"]), len(body))
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None


class BoundedJSONParser(BaseParser):
    """Reads a JSON object."""

    media_type: ClassVar[str] = "application/json"  # type: ignore[misc]

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object.

        :raises ParseError: when the body is anything else.
        """
        try:
            parsed = json.loads(_text(stream, parser_context), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON.") from None
        if not isinstance(parsed, dict):
            raise ParseError("The body must be a JSON object.")
        return parsed


class SdpParser(BaseParser):
    """Reads a bare SDP as though it were the member `sdp` of a JSON object."""

    media_type: ClassVar[str] = "application/sdp"  # type: ignore[misc]

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the SDP."""
        return {"sdp": _text(stream, parser_context)}


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(name)
