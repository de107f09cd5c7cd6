"""Render rows as `conferences.shapes` (protocol section 3). Only this module maps columns to wire names."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import cast

from conferences.machine import ConferenceState, ModificationKind, ModificationState, ParticipantState
from conferences.models import FOCUS, Access, Conference, Knock, LeftReason, Modification, Participant, Role, Topology
from conferences.shapes import (
    ConferenceShape,
    KnockShape,
    MediaShape,
    ModificationShape,
    OriginShape,
    ParticipantShape,
    QualityShape,
    SessionShape,
)
from events.clock import instant
from events.models import Session
from events.states import SessionState
from media.models import QualitySample
from media.reports import DeviceKind, Direction, Source


def session(row: Session) -> SessionShape:
    """Return a session as others see it, without its token."""
    return {
        "id": row.pk,
        "username": row.username,
        "vtn": row.vtn or None,
        "icmn": row.icmn or None,
        "device": row.device,
        "state": SessionState(row.state),
        "away": row.away_until is not None,
        "followed": row.followed_by != "",
        "expiresAt": instant(row.expires_at),
    }


def participant(row: Participant, reachable: Mapping[str, int] = MappingProxyType({})) -> ParticipantShape:
    """Return a participant. Load the row with its session (`select_related`), or each call makes a query.

    :param reachable: how many devices ring, by the IDs of participants that were just invited.
    """
    shape: ParticipantShape = {
        "id": row.pk,
        "username": row.username,
        "role": Role(row.role),
        "state": ParticipantState(row.state),
        "sessionId": row.session_id,
        "device": row.session.device if row.session else None,
        "muted": {"audio": row.muted_audio, "video": row.muted_video},
        "handRaisedAt": instant(row.hand_raised_at) if row.hand_raised_at else None,
        "away": row.away,
        "leftReason": LeftReason(row.left_reason) if row.left_reason else None,
    }
    if row.pk in reachable:
        shape["reachable"] = reachable[row.pk]
    return shape


def media(row: Participant) -> MediaShape:
    """Return which media a participant's device sends when it is off hold."""
    sent = row.sends.split()
    return {"audio": "audio" in sent, "video": "video" in sent, "screen": "screen" in sent}


def origin(row: Participant | None) -> OriginShape:
    """Return the author of an event: a participant, or the focus (None)."""
    if row is None:
        return {"participant": FOCUS, "username": None}
    return {"participant": row.pk, "username": row.username}


def modification(row: Modification) -> ModificationShape:
    """Return a pending modification, as a snapshot of its conference lists it."""
    return {
        "modId": row.pk,
        "kind": ModificationKind(row.kind),
        "from": row.offered_by_id or FOCUS,
        "to": row.offered_to_id or FOCUS,
        "state": ModificationState(row.state),
        "expiresAt": instant(row.expires_at),
    }


def knock(row: Knock) -> KnockShape:
    """Return a knock as the host sees it. Load the row with its session (`select_related`)."""
    return {"id": row.pk, "username": row.username, "device": row.session.device}


def quality(row: QualitySample) -> QualityShape:
    """Return a sample of quality. What is unknown is left out."""
    optional: dict[str, object] = {
        "loss": _share(row.loss),
        "jitterMs": row.jitter_ms,
        "roundTripMs": row.round_trip_ms,
        "retransmissions": row.retransmissions,
        "estimate": row.estimate,
        "queueMs": row.queue_ms,
        "silenceMs": row.silence_ms,
        "videos": row.videos,
        "paused": row.paused,
        "layers": [{"rid": rid, "videos": number} for rid, number in row.layers.items()] or None,
        "framesPerSecond": row.frame_rate,
        "width": row.width,
        "height": row.height,
        "freezes": row.freezes,
        "frozenMs": row.frozen_ms,
        "concealed": _share(row.concealed),
        "device": DeviceKind(row.device) if row.device else None,
    }
    known = {name: value for name, value in optional.items() if value is not None}
    sample: QualityShape = {
        "participant": row.participant_id,
        "at": instant(row.at),
        "source": Source(row.source),
        "direction": Direction(row.direction),
        "score": row.score,
        "bitrate": row.bitrate,
    }
    return cast("QualityShape", {**sample, **known})


def _share(thousandths: int | None) -> float | None:
    return None if thousandths is None else thousandths / 1000


def conference(
    row: Conference,
    participants: Iterable[Participant],
    pending: Iterable[Modification],
    reachable: Mapping[str, int] = MappingProxyType({}),
) -> ConferenceShape:
    """Return a conference with its listed participants and pending modifications.

    :param reachable: how many devices ring, by the IDs of participants that were just invited.
    """
    return {
        "id": row.pk,
        "topology": Topology(row.topology),
        "access": Access(row.access),
        "locked": row.locked,
        "name": row.name,
        "state": ConferenceState(row.state),
        "createdAt": instant(row.created_at),
        "openedAt": instant(row.opened_at) if row.opened_at else None,
        "endedAt": instant(row.ended_at) if row.ended_at else None,
        "participants": [participant(each, reachable) for each in participants],
        "leftEarlier": row.unlisted,
        "pendingModifications": [modification(each) for each in pending],
    }
