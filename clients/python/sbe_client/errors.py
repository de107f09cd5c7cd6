"""The errors of the client.

SbeError
├── Refusal            the enabler refused a request (RFC 9457 problem document)
│   └── SessionOver    the session has ended or expired: register again
├── NetworkError       no answer came, after several attempts
├── ProtocolError      an answer or an event cannot be read
├── ChannelReplaced    newer readers of the session have replaced this one
└── CallOver           the call ended while an action was in progress (bot)
"""

from collections.abc import Mapping
from typing import Any


class SbeError(Exception):
    """The base of all errors of this package."""


class Refusal(SbeError):
    """The enabler, or a gateway in front of it, refused the request.

    `status` is the HTTP status. `code` is stable, for programs; it is `http-<status>` if the answer has none. `detail`
    is for people. `fields` has the other members of the problem document, such as `retryAfterMs`.
    """

    def __init__(self, status: int, code: str, detail: str = "", fields: Mapping[str, Any] | None = None) -> None:
        """Take the members of the problem document."""
        super().__init__(f"{status} {code}: {detail}" if detail else f"{status} {code}")
        self.status, self.code, self.detail = status, code, detail
        self.fields: Mapping[str, Any] = fields or {}


class SessionOver(Refusal):
    """The session has ended or expired, or its token is not accepted. Register again."""


class NetworkError(SbeError):
    """No answer came within the time budget. The cause is the last error of the connection."""


class ProtocolError(SbeError):
    """The server's answer or event cannot be read: no JSON, a missing member, or too large."""


class ChannelReplaced(SbeError):
    """Newer readers have replaced this one. Do not reconnect automatically: the readers would replace each other."""


class CallOver(SbeError):
    """The call has ended. `reason` tells why, as in the protocol's `session-terminated`, or `moved`."""

    def __init__(self, reason: str) -> None:
        """Take the reason."""
        super().__init__(f"The call is over: {reason}.")
        self.reason = reason
