"""A WebSocket as the consumer sees it, without a server."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from events.models import Session, hash_token


def new_session() -> Session:
    """Make a live session whose token is "secret"."""
    now = timezone.now()
    return Session.objects.create(
        username="alice", created_at=now, expires_at=now + timedelta(hours=1), token_hash=hash_token("secret")
    )


def scope_of(session: Session) -> dict[str, Any]:
    """Return the scope of a WebSocket of a session."""
    return {
        "type": "websocket",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
        "subprotocols": ["sbe.v1", "bearer.secret"],
        "url_route": {"args": (), "kwargs": {"session_id": session.pk}},
    }
