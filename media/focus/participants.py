"""A conference's participants as its node knows them: their states, their legs, and the causes of their next offers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media.allowance import Allowance
from media.focus.leg import Leg
from media.focus.quality import Quality
from media.focus.record import Record
from media.forward.tracks import Track
from media.messages import Cause, FocusOffer, ParticipantView
from media.reports import Connection
from media.sdp.media_section import Outgoing

# A participant's answer may change which media it sends, and the focus offers every change to all others. So the number
# of changes is limited: a burst, and then one in this many seconds.
CHANGES_BURST, CHANGE_SECONDS = 8, 2.0
# Key frames of one track that one participant may cause: a burst, and then one in this many seconds.
KEY_FRAME_BURST, KEY_FRAME_RENEWAL_SECONDS = 4, 5.0


@dataclass(frozen=True)
class State:
    """A participant's state in the last task. `is_present` is false while the participant moves between devices."""

    is_present: bool
    is_on_hold: bool
    muted: frozenset[str]

    @classmethod
    def of(cls, view: ParticipantView) -> "State":
        """Return the state of a participant in a task's view."""
        return cls(view.state != "moving", view.state == "on-hold", frozenset(view.muted))


@dataclass
class Participant:
    """A participant, its leg, and the causes that its next offer announces."""

    id: str
    state: State
    leg: Leg | None = None
    # The labels of the tracks that the participant sent last. A hold does not change them.
    sent: frozenset[str] = frozenset()
    # The last reported quality of the participant's connection, and the time of that report.
    connection: Connection = Connection.CONNECTED
    reported_at: float = 0.0
    quality: Quality = field(default_factory=Quality)
    record: Record = field(default_factory=Record)
    # The causes that the next offer to this participant announces, the oldest first.
    causes: list[Cause] = field(default_factory=list)
    # The tracks that the participant should have got when it last rejected an offer, or had given too many unusable
    # answers. The focus does not offer exactly these tracks again.
    declined: tuple[Outgoing, ...] | None = None
    # Whether the participant was accepted without Opus. If so, it keeps its audio when others join later.
    lacks_opus: bool = False
    # The version of the media plan with which the participant is up to date; None while that is unknown.
    informed: int | None = None
    # The focus's last offer to this participant. It is pending while the leg's negotiation waits for the answer.
    offer: FocusOffer | None = None
    # The ID of the focus's last offer that the participant answered, and how many answers in a row were unusable.
    answered: str | None = None
    unusable: int = 0
    # How often the participant's answers may change which media it sends.
    changes: Allowance = field(default_factory=lambda: Allowance(1 / CHANGE_SECONDS, CHANGES_BURST))
    # How many key frames of each track the participant may cause.
    key_frames: dict[Track, Allowance] = field(default_factory=dict)

    def may_change(self, now: float) -> bool:
        """Tell whether an answer may change which media the participant sends. A leg's first answer always may."""
        return self.changes.grow(now) >= 1 or self.leg is None or not self.leg.negotiation.settled

    def may_cause_key_frame(self, track: Track, now: float) -> bool:
        """Tell whether the participant may cause a key frame of a track now. If so, count the key frame."""
        new = Allowance(1 / KEY_FRAME_RENEWAL_SECONDS, KEY_FRAME_BURST)
        return self.key_frames.setdefault(track, new).take(1, now)

    def awaits(self, mod_id: str) -> bool:
        """Tell whether this offer of the focus is the one that waits for the participant's answer."""
        is_offered = self.leg is not None and self.leg.negotiation.offering
        return is_offered and self.offer is not None and self.offer.mod_id == mod_id


# The participants by ID. All parts of a conference share one such mapping.
Participants = Mapping[str, Participant]


def legs_of(participants: Participants) -> list[Leg]:
    """Return the legs of these participants."""
    return [each.leg for each in participants.values() if each.leg is not None]
