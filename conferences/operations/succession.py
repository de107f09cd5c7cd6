"""How the role of the host passes from one participant to another (protocol section 3)."""

import logging
from datetime import timedelta

from conferences import wire
from conferences.event_types import HostChanged
from conferences.models import Participant, Role
from conferences.operations import knocks
from conferences.operations.locked_conference import LockedConference

logger = logging.getLogger(__name__)

# A participant that leaves this soon after it became the host may not have known of its role.
GRACE = timedelta(seconds=5)


def hand_over(locked: LockedConference, successor: Participant, *, by: Participant) -> None:
    """Make a participant the host instead of `by`, and tell everybody except `by`."""
    by.role, successor.role = Role.GUEST, Role.HOST
    locked.conference.handed_over_at = locked.now
    locked.tell_all(HostChanged(participant=wire.participant(successor), from_=wire.origin(by)), but=[by])
    knocks.tell_new_host(locked)
    logger.info("conference %s: %s made %s the host", locked.conference.pk, by.pk, successor.pk)


def pass_on(locked: LockedConference, leaver: Participant) -> None:
    """If a participant leaves soon after it became the host, make the first joined participant the host.

    Participants that are away come last, because the conference would end if they do not come back.
    Without the succession, a guest that hangs up in the moment of the hand-over would end the conference for all.
    """
    since = locked.conference.handed_over_at
    others = sorted((each for each in locked.joined if each is not leaver), key=lambda each: each.away)
    if leaver.role == Role.HOST and since is not None and locked.now - since <= GRACE and others:
        hand_over(locked, others[0], by=leaver)
