"""One request with its repetitions, without input and output.

An adapter sends `Exchange.request`, and reports the answer or the failure. It then gets the result, or the time to
wait before the next attempt. Repeating is safe: GET and DELETE are idempotent (RFC 9110 section 9.2.2), and POST and
PUT carry an `Idempotency-Key` that is the same in all attempts.
"""

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, TypeVar

from sbe_client.errors import NetworkError, ProtocolError, Refusal, SbeError, SessionOver

T = TypeVar("T")

# Seconds: one attempt, and all attempts of a request together.
ATTEMPT_TIMEOUT: Final = 8.0
BUDGET: Final = 20.0
# Bytes of an answer that are read at most.
LONGEST_BODY: Final = 8 * 2**20
_GATEWAY_TROUBLE = frozenset({502, 503, 504})
_LONGEST_PAUSE = 4.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request relative to the enabler's URL. `by_application` means: with the API key, not the session's token."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    by_application: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. The names of the headers are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Mapping[str, Any]:
        """Return the JSON object of the body.

        :raises ProtocolError: when it has none.
        """
        try:
            data = json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"the answer with status {self.status} is not JSON") from error
        if not isinstance(data, dict):
            raise ProtocolError(f"the answer with status {self.status} is not a JSON object")
        return data


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A request, and how to read its successful answer."""

    request: Request
    read: Callable[[Response], T]


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The result of an exchange."""

    value: T


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait this many seconds, then send the request again."""

    seconds: float


class Exchange(Generic[T]):
    """Decides for one operation whether to repeat its request."""

    def __init__(
        self,
        operation: Operation[T],
        base_url: str,
        authorization: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Start the time budget. `authorization` is the value of that header."""
        self._operation, self._clock, self._chance = operation, clock, chance
        self._give_up_at = clock() + BUDGET
        self._attempts = 0
        self.request = _wire(operation.request, base_url, authorization)

    def lost(self, error: Exception) -> Wait:
        """Report that no answer came.

        :raises NetworkError: when the budget is used up.
        """
        failure = NetworkError(f"no answer from the server: {error!r}")
        failure.__cause__ = error
        return self._again(self._back_off(), failure)

    def answered(self, response: Response) -> Done[T] | Wait:
        """Report an answer.

        :raises Refusal: when it is a final refusal.
        :raises ProtocolError: when the answers cannot be read, until the budget is used up.
        """
        if response.status >= 300:
            return self._refused(refusal_from(response))
        try:
            return Done(self._operation.read(response))
        except ProtocolError as error:
            return self._again(self._back_off(), error)

    def _refused(self, refusal: Refusal) -> Wait:
        if refusal.status == 401 and not self._operation.request.by_application:
            raise SessionOver(refusal.status, refusal.code, refusal.detail, refusal.fields)
        if refusal.status != 429 and refusal.status not in _GATEWAY_TROUBLE:
            raise refusal
        told = _seconds(refusal.fields.get("retryAfterMs"))
        pause = self._back_off() if told is None else told + self._chance() * 0.4
        return self._again(pause, refusal)

    def _again(self, pause: float, error: SbeError) -> Wait:
        self._attempts += 1
        if self._clock() + pause > self._give_up_at:
            raise error
        return Wait(pause)

    def _back_off(self) -> float:
        return back_off(self._attempts, cap=_LONGEST_PAUSE, chance=self._chance)


def too_large() -> NoReturn:
    """Refuse an answer of more than `LONGEST_BODY` bytes.

    :raises ProtocolError: always.
    """
    raise ProtocolError(f"an answer has more than {LONGEST_BODY} bytes")


def back_off(
    attempt: int, *, base: float = 0.4, cap: float = 10.0, chance: Callable[[], float] = random.random
) -> float:
    """Return a random delay, in seconds, below a limit that doubles with each attempt (full jitter)."""
    return chance() * min(cap, base * 2.0 ** min(attempt, 16))


def refusal_from(response: Response) -> Refusal:
    """Read a refusal of any shape: a problem document, a gateway's HTML page, or nothing at all."""
    try:
        problem = dict(response.json())
    except ProtocolError:
        problem = {}
    code, detail, title = problem.pop("code", None), problem.pop("detail", None), problem.pop("title", None)
    fields = {name: value for name, value in problem.items() if name not in {"status", "type", "instance"}}
    if (told := _seconds_of_header(response.headers.get("retry-after"))) is not None:
        fields.setdefault("retryAfterMs", told * 1000)
    code = code if isinstance(code, str) else f"http-{response.status}"
    return Refusal(response.status, code, str(detail or title or ""), fields)


def _wire(request: Request, base_url: str, authorization: str) -> Wire:
    headers = {"accept": "application/json, application/problem+json", "authorization": authorization}
    headers |= request.headers
    if request.method in {"POST", "PUT"}:
        headers["idempotency-key"] = secrets.token_hex(16)
    content = None
    if request.body is not None:
        headers["content-type"] = "application/json"
        content = json.dumps(request.body).encode()
    return Wire(request.method, base_url.rstrip("/") + request.path, headers, content)


def _seconds(milliseconds: object) -> float | None:
    if isinstance(milliseconds, int | float) and milliseconds >= 0:
        return milliseconds / 1000
    return None


def _seconds_of_header(value: str | None) -> float | None:
    """Read `Retry-After` as seconds. A date is ignored: the usual back-off applies."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
