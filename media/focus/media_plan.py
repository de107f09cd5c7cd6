"""The tracks that the legs of a conference should get, and the codecs that they agree on.

An offer is due when a leg's negotiation differs from this plan. `version` rises whenever the plan changes, so a leg
that is up to date with the current version needs no offer.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import starmap

from media.focus.participants import Participants, legs_of
from media.forward.tracks import Track
from media.sdp.codecs import Agreed, takes_opus
from media.sdp.media_section import Outgoing
from media.sdp.sections import is_screen

# If at least this many participants use Opus, they keep Opus when a participant without it joins. The new participant
# then has no audio. If fewer use Opus, all change to PCMU.
OPUS_PARTICIPANTS = 2


class MediaPlan:
    """The plan of one conference. `tracks` holds the conference's tracks by participant and label."""

    def __init__(self, participants: Participants, tracks: Mapping[tuple[str, str], Track]) -> None:
        self._participants = participants
        self._tracks = tracks
        self._all_outgoing: tuple[Outgoing, ...] = ()
        self._codecs_in_use = Agreed()
        self._outgoing_is_stale = self._codecs_are_stale = True
        self.version = 0

    def tracks_changed(self) -> None:
        """Mark the plan as stale, because tracks may have changed. The next query computes it again."""
        self._outgoing_is_stale = True

    def codecs_changed(self) -> None:
        """Mark the plan as stale, because the legs' codecs may have changed. The next query computes it again."""
        self._codecs_are_stale = True

    def is_version(self, version: int | None) -> bool:
        """Tell whether the plan is up to date and has this version. The version of a stale plan is unknown."""
        return not (self._outgoing_is_stale or self._codecs_are_stale) and version == self.version

    def labels(self, id_: str) -> set[str]:
        """Return the labels of the tracks that a participant has published."""
        return {label for owner, label in self._tracks if owner == id_}

    def outgoing(self, id_: str) -> tuple[Outgoing, ...]:
        """Return the tracks that a participant should get: the tracks of all other participants."""
        if self._outgoing_is_stale:
            before, self._all_outgoing = self._all_outgoing, tuple(starmap(self._as_sent, self._tracks.items()))
            self._outgoing_is_stale = False
            self.version += before != self._all_outgoing
        return tuple(each for each in self._all_outgoing if each.stream != id_)

    def codecs_in_use(self) -> Agreed:
        """Return the codecs to list in media sections. All participants can receive them."""
        if self._codecs_are_stale:
            before, self._codecs_in_use = self._codecs_in_use, self.agreed().in_use()
            self._codecs_are_stale = False
            self.version += before.codecs != self._codecs_in_use.codecs
        return self._codecs_in_use

    def agreed(self, *, without: str = "") -> Agreed:
        """Return the codecs that all participants can receive, or all except the participant `without`.

        A participant may lack these codecs: it made an offer, the others agreed on codecs, and then it withdrew the
        offer. It gets no media of that kind, and the others keep their codecs.
        """
        agreed = Agreed()
        for leg in legs_of(self._participants):
            if leg.participant != without:
                agreed = agreed.joined_by_what_fits(leg.negotiation.capabilities, leg.negotiation.shown)
        return agreed

    def agreed_by_others(self, id_: str) -> Agreed:
        """Return the codecs on which all other participants agree. This participant must support one of each kind.

        If at least OPUS_PARTICIPANTS others have Opus, they keep it even if this participant lacks it. They do not keep
        it if this participant was accepted without Opus before.
        """
        others = [leg for leg in legs_of(self._participants) if leg.participant != id_]
        with_opus = sum(takes_opus(leg.negotiation.capabilities) for leg in others)
        keeps_opus = with_opus >= OPUS_PARTICIPANTS and not self._participants[id_].lacks_opus
        return replace(self.agreed(without=id_), keeps_opus=keeps_opus)

    def _as_sent(self, key: tuple[str, str], track: Track) -> Outgoing:
        """Return the description of a track for its receivers."""
        owner, label = key
        return Outgoing(
            track=f"{owner} {label}",
            kind=track.kind,
            stream=owner,
            label=label,
            ssrc=track.ssrc,
            rtx_ssrc=track.rtx_ssrc if track.kind == "video" else None,
            live=self._is_live(owner, label),
        )

    def _is_live(self, owner: str, label: str) -> bool:
        """Tell whether receivers should expect media from a track. Muting does not change the result.

        While the owner moves, receivers keep the tracks that the new device will send: the microphone and the camera,
        if the old device sent them. A screen cannot be shared before the user chooses it on the new device.
        """
        participant = self._participants[owner]
        if not participant.state.is_present:
            return label in participant.sent and not is_screen(label)
        leg = participant.leg
        return not participant.state.is_on_hold and leg is not None and label in leg.layout.published
