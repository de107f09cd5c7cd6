"""Render rows as the shapes of protocol section 3. The only place that knows the wire's names for columns."""

from collections.abc import Iterable

from conferences.models import FOCUS, Conference, Modification, Participant
from events.clock import instant
from events.models import Session


def session(row: Session) -> dict[str, object]:
    """Return a session as others may see it: without its token."""
    return {
        "id": row.pk,
        "username": row.username,
        "vtn": row.vtn or None,
        "icmn": row.icmn or None,
        "device": row.device,
        "state": row.state,
        "expiresAt": instant(row.expires_at),
    }


def participant(row: Participant) -> dict[str, object]:
    """Return a participant. The session, where it has one, must have been loaded with it."""
    return {
        "id": row.pk,
        "username": row.username,
        "role": row.role,
        "state": row.state,
        "sessionId": row.session_id,
        "device": row.session.device if row.session else None,
        "muted": {"audio": row.muted_audio, "video": row.muted_video},
        "leftReason": row.left_reason or None,
    }


def party(row: Participant | None) -> dict[str, object]:
    """Return who did something, as events name them; None is the focus."""
    if row is None:
        return {"participant": FOCUS, "username": None}
    return {"participant": row.pk, "username": row.username}


def modification(row: Modification) -> dict[str, object]:
    """Return a pending modification as a conference lists it."""
    return {
        "modId": row.pk,
        "kind": row.kind,
        "from": row.offered_by_id or FOCUS,
        "to": row.offered_to_id or FOCUS,
        "state": row.state,
        "expiresAt": instant(row.expires_at),
    }


def conference(
    row: Conference, participants: Iterable[Participant], pending: Iterable[Modification]
) -> dict[str, object]:
    """Return a conference with its listed participants and pending modifications."""
    return {
        "id": row.pk,
        "topology": row.topology,
        "access": row.access,
        "name": row.name,
        "state": row.state,
        "createdAt": instant(row.created_at),
        "endedAt": instant(row.ended_at) if row.ended_at else None,
        "participants": [participant(each) for each in participants],
        "leftEarlier": row.unlisted,
        "pendingModifications": [modification(each) for each in pending],
    }
