"""Repeat the HTTP response to a repeated request (`Idempotency-Key`, protocol section 3).

This module calls the response the *answer*. The answer is kept in the same transaction as the change, so either both
are stored or neither. If two equal requests arrive at the same time, the primary key makes the second request wait for
the first. Refusals are not kept: they change nothing, so the client may send the request again.

A handler parses its request and returns a function that makes the change. Parsing takes time in proportion to the body.
Therefore, parsing happens before the transaction begins: on SQLite, a transaction blocks all other writers.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from conferences.exceptions import IdempotencyMismatchError
from conferences.models import KeptAnswer
from events import clock
from events.authentication import principal_of
from events.exceptions import MalformedError

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("ETag", "Location", "x-mod-id", "x-state")
# Two requests are equal if these headers, the method, the path and the body are equal.
_COMPARED_HEADERS = ("content-type", "if-match", "x-conference-action", "x-mod-id", "x-session-id")

Change = Callable[[], Response]
Handler = Callable[..., Change]
View = Callable[..., Response]
Recheck = Callable[[Any], None]


def idempotent(handler: Handler) -> View:
    """Decorate a view's handler to honour `Idempotency-Key`."""
    return _answer_once(handler, lambda body: None)


def idempotent_if(recheck: Recheck) -> Callable[[Handler], View]:
    """Return a decorator like `idempotent`, with a check before a kept answer is repeated.

    `recheck` gets the body of the kept answer, and raises a refusal if the answer must not be repeated.
    """
    return partial(_answer_once, recheck=recheck)


def _answer_once(handler: Handler, recheck: Recheck) -> View:
    """Return the decorated handler. Each session, and each API key, has its own set of idempotency keys."""

    @wraps(handler)
    def answer_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None:
            return handler(view, request, *args, **kwargs)()
        if not _KEY.fullmatch(key):
            raise MalformedError("An Idempotency-Key must have 1 to 255 visible ASCII characters.")
        kept = KeptAnswer(
            key_hash=_digest(principal_of(request).name, key),
            request_hash=_fingerprint(request),
            created_at=clock.now(),
        )
        if first := _first(kept):
            return _repeat(first, kept.request_hash, recheck)
        change = handler(view, request, *args, **kwargs)
        try:
            return _make(change, kept)
        except IntegrityError:
            # An equal request arrived at the same time, and its answer was stored first.
            if first := _first(kept):
                return _repeat(first, kept.request_hash, recheck)
            raise

    return answer_once


def _first(kept: KeptAnswer) -> KeptAnswer | None:
    """Return the kept answer to an earlier request with the same key, if there is one."""
    return KeptAnswer.objects.filter(pk=kept.pk).first()


@transaction.atomic
def _make(change: Change, kept: KeptAnswer) -> Response:
    """Make the change and keep its answer."""
    kept.save(force_insert=True)
    response = change()
    _keep(kept, response)
    return response


def _keep(kept: KeptAnswer, response: Response) -> None:
    """Write the answer, in the transaction of the change."""
    kept.status = response.status_code
    kept.headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    if response.data is not None:
        # The answer to a registration contains a token, and tokens are never stored in plain text.
        kept.body = _cipher().encrypt(json.dumps(response.data).encode()).decode()
    kept.save(update_fields=["status", "headers", "body"])


def _repeat(kept: KeptAnswer, request_hash: str, recheck: Recheck) -> Response:
    """Return the kept answer.

    :raises IdempotencyMismatchError: when the kept answer belongs to a different request.
    """
    if kept.request_hash != request_hash:
        raise IdempotencyMismatchError
    body = json.loads(_cipher().decrypt(kept.body.encode())) if kept.body else None
    recheck(body)
    return Response(body, status=kept.status, headers=kept.headers)


def _fingerprint(request: Request) -> str:
    """Return a hash that differs between different requests with the same key."""
    headers = [request.headers.get(name, "") for name in _COMPARED_HEADERS]
    body = hashlib.sha256(request._request.body).hexdigest()
    return _digest(request.method or "", request.get_full_path(), *headers, body)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _cipher() -> Fernet:
    key = hashlib.sha256(b"kept answers " + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
