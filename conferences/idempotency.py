"""Repeat the answer to a repeated request (`Idempotency-Key`, protocol section 3).

The kept answer is written in the transaction of the change itself: either both are there or neither. Two twins in the
same instant are told apart by the primary key, on which the second waits for the first. Refusals are not kept: they
have changed nothing, so asking again is safe.

A handler reads its request and returns the change that the request asks for. Reading takes time in proportion to the
body, so it is done before the transaction, which on SQLite stops everybody else's writes.
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
from events.authentication import speaker_of
from events.exceptions import MalformedError

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("ETag", "Location", "x-mod-id", "x-state")
# What makes two requests the same, besides method, path and body.
_TELLING_HEADERS = ("content-type", "if-match", "x-conference-action", "x-mod-id", "x-session-id")

Change = Callable[[], Response]
Handler = Callable[..., Change]
View = Callable[..., Response]
Recheck = Callable[[Any], None]


def idempotent(handler: Handler) -> View:
    """Let a view's handler honour `Idempotency-Key`."""
    return _answer_once(handler, lambda body: None)


def idempotent_while(recheck: Recheck) -> Callable[[Handler], View]:
    """Do the same, but pass the body of a kept answer to `recheck` first, which raises where it is no longer true."""
    return partial(_answer_once, recheck=recheck)


def _answer_once(handler: Handler, recheck: Recheck) -> View:
    """Return the handler with a memory. Keys belong to the speaker: a session, or a gateway that speaks for itself."""

    @wraps(handler)
    def answer_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None:
            return handler(view, request, *args, **kwargs)()
        if not _KEY.fullmatch(key):
            raise MalformedError("An Idempotency-Key has 1 to 255 visible ASCII characters.")
        kept = KeptAnswer(
            key_hash=_digest(speaker_of(request).name, key),
            request_hash=_fingerprint(request),
            created_at=clock.now(),
        )
        if first := _first(kept):
            return _repeat(first, kept.request_hash, recheck)
        change = handler(view, request, *args, **kwargs)
        try:
            return _make(change, kept)
        except IntegrityError:
            # A twin was quicker.
            if first := _first(kept):
                return _repeat(first, kept.request_hash, recheck)
            raise

    return answer_once


def _first(kept: KeptAnswer) -> KeptAnswer | None:
    """Return the answer that an earlier request with the same key was given."""
    return KeptAnswer.objects.filter(pk=kept.pk).first()


@transaction.atomic
def _make(change: Change, kept: KeptAnswer) -> Response:
    """Make the change and keep its answer."""
    kept.save(force_insert=True)
    response = change()
    _keep(kept, response)
    return response


def _keep(kept: KeptAnswer, response: Response) -> None:
    """Write the answer beside the change."""
    kept.status = response.status_code
    kept.headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    if response.data is not None:
        # The answer to a registration has a token in it, and tokens are stored nowhere in the clear.
        kept.body = _cipher().encrypt(json.dumps(response.data).encode()).decode()
    kept.save(update_fields=["status", "headers", "body"])


def _repeat(kept: KeptAnswer, request_hash: str, recheck: Recheck) -> Response:
    """Return the kept answer.

    :raises IdempotencyMismatchError: when it was given to another request.
    """
    if kept.request_hash != request_hash:
        raise IdempotencyMismatchError
    body = json.loads(_cipher().decrypt(kept.body.encode())) if kept.body else None
    recheck(body)
    return Response(body, status=kept.status, headers=kept.headers)


def _fingerprint(request: Request) -> str:
    """Return what tells this request from others under the same key."""
    headers = [request.headers.get(name, "") for name in _TELLING_HEADERS]
    body = hashlib.sha256(request._request.body).hexdigest()
    return _digest(request.method or "", request.get_full_path(), *headers, body)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _cipher() -> Fernet:
    key = hashlib.sha256(b"kept answers " + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
