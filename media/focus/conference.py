"""A conference on a node: its legs and tracks, and the work that is asked of it.

Every task brings the conference as it must be known here, whole: so tasks can be repeated, and nothing that was missed
stays wrong. What a leg has been told is in its negotiation; what it should know follows from the tracks. An offer is
due wherever the two differ.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import starmap
from typing import Any, Protocol, TypeVar

from media.aiortc_adapter import Certificate
from media.allowance import Allowance
from media.focus.layout import Layout, changed
from media.focus.leg import MID, Leg
from media.focus.pacing import Pacer
from media.focus.port import Port
from media.focus.quality import Quality
from media.focus.relay import Budget, Relay
from media.forward import rtcp
from media.forward.tracks import Sink, Track
from media.reports import LOST_SECONDS, Connection
from media.sdp.codecs import Agreed, read_capabilities, takes_opus
from media.sdp.description import NewAssociationError, parse
from media.sdp.negotiation import LocalEnd, Negotiation, NegotiationError, Outgoing, Section
from media.sdp.syntax import SdpError
from media.sdp.writer import cname_of
from media.transport.dtls import Handshakes, Transport
from media.transport.ice import Credentials
from media.transport.sctp import DataChannels

logger = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")

# Consent (RFC 7675): a browser checks every few seconds. Without a check for so long a leg counts as silent, and then
# it is given up.
SILENT_SECONDS = 15.0
REPORT_SECONDS = 1.0
# A poor connection is told of again so often: who missed it, or joins, is to know.
REMINDER_SECONDS = 10.0
# How loud somebody must have been of late to count as speaking, and how much of that a tick leaves. A packet adds up to
# 1, and 50 come in a second: about two tenths of a second of speech.
AUDIBLE = 3.0
LOUDNESS_KEPT = 0.8
# The speaker changes at most once in this many seconds. Each change is told to everybody.
SPEAKER_SECONDS = 1.0
# Answers kept for tasks that are repeated after a crash.
_ANSWERS_KEPT = 8
# Who gives so many unusable answers in a row is offered nothing more until there is something else to offer.
MOST_UNUSABLE_ANSWERS = 3
# Who changes by answers what it sends makes the focus offer that to everybody. So many changes are free, then one in so
# many seconds: as often as it may make offers.
CHANGES_BURST, CHANGE_SECONDS = 8, 2.0
# Key frames that one participant may cause of one track: a burst, then one in this many seconds.
KEY_FRAME_BURST, KEY_FRAME_RENEWAL_SECONDS = 4, 5.0
# This many members with Opus keep it when somebody without it joins, who then has no audio. Fewer use PCMU instead.
OPUS_MEMBERS = 2
# What a participant may send: every other one has a line for each, and a leg has a limited number of these.
MAX_TRACKS = 8


class Reports(Protocol):
    """What a conference tells the node."""

    def lost(self, conference: str, participant: str, leg: str) -> None:
        """A leg is gone without having been asked to."""

    def speaks(self, conference: str, participant: str) -> None:
        """Somebody else is the one who speaks now."""

    def hears(self, conference: str, participant: str, connection: Connection) -> None:
        """Somebody is not heard of any more, or is again."""


@dataclass(frozen=True)
class Seat:
    """A participant as the operations see it. `sits` is false while it moves between two devices."""

    sits: bool
    is_on_hold: bool
    muted: frozenset[str]


@dataclass(frozen=True)
class Cause:
    """Why legs must learn something: the modification that brought it about, and of what kind it was."""

    mod_id: str | None
    kind: str


class Aside(Protocol):
    """Does work that takes milliseconds and touches only a negotiation, while the loop goes on."""

    def __call__(self, work: Callable[[], Outcome]) -> Awaitable[Outcome]: ...


@dataclass(frozen=True)
class Services:
    """What all conferences of a node share."""

    port: Port
    certificate: Certificate
    local: LocalEnd
    handshakes: Handshakes
    reports: Reports
    now: Callable[[], float]
    spawn: Callable[[Any], None]
    aside: Aside
    deliveries: Budget


@dataclass
class Member:
    """A participant: its seat, its leg, and what it is still to be told."""

    seat: Seat
    leg: Leg | None = None
    connection: Connection = Connection.CONNECTED
    told_at: float = 0.0
    quality: Quality = field(default_factory=Quality)
    causes: list[Cause] = field(default_factory=list)
    declined: tuple[Outgoing, ...] | None = None
    # Whether it was accepted without Opus: it keeps its audio then, whoever joins later.
    lacks_opus: bool = False
    # The version of the conference that it needs no offer for; None when that has to be found out.
    informed: int | None = None
    # The focus's last offer to it, which counts while its negotiation waits for the answer.
    offer: dict[str, Any] = field(default_factory=dict)
    # The ID of the last one that was answered, and how many answers in a row could not be used.
    answered: str | None = None
    unusable: int = 0
    # How often its answers may change what it sends.
    changes: Allowance = field(default_factory=lambda: Allowance(1 / CHANGE_SECONDS, CHANGES_BURST))
    # How many key frames it may cause, by the SSRC of the track.
    key_frames: dict[int, Allowance] = field(default_factory=dict)

    def may_change(self, now: float) -> bool:
        """Tell whether an answer may change what it sends; its first answer on a connection always may."""
        return self.changes.grow(now) >= 1 or self.leg is None or not self.leg.negotiation.settled

    def may_cause_key_frame(self, track: Track, now: float) -> bool:
        """Tell whether it may cause a key frame of a track now, and count it."""
        new = Allowance(1 / KEY_FRAME_RENEWAL_SECONDS, KEY_FRAME_BURST)
        return self.key_frames.setdefault(track.ssrc, new).take(1, now)

    def awaits(self, mod_id: str) -> bool:
        """Tell whether this offer of the focus is the one that waits for its answer."""
        return self.leg is not None and self.leg.negotiation.offering and self.offer["modId"] == mod_id


class Conference:
    """One conference. Lives on the node's loop; nothing here waits for the network.

    Descriptions are read and written aside, one task after the other. While that lasts, legs may be lost, and no other
    task touches their negotiations.
    """

    def __init__(self, id_: str, services: Services, generation: int = 1) -> None:
        self.id = id_
        self.generation = generation
        self.members: dict[str, Member] = {}
        self.tracks: dict[tuple[str, str], Track] = {}
        self._services = services
        self._reported_at = 0.0
        self._pacer = Pacer()
        self._speaker = ""
        self._speaks_since = float("-inf")
        self._deserted_at: float | None = None
        self._turn = asyncio.Lock()
        self._relay = Relay(self._channels, services.deliveries)
        # Tasks that run or wait for their turn.
        self.tasks = 0
        # What all legs together should get, and what they agree on; the version rises when either changes.
        self._version = 0
        self._all_outgoing: tuple[Outgoing, ...] = ()
        self._all_agreed = Agreed()
        self._outgoing_is_stale = self._agreed_is_stale = True

    # --- Tasks ------------------------------------------------------------------------------------------------

    async def execute(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a task and return its result (`media.tasks.Result`)."""
        self.tasks += 1
        try:
            async with self._turn:
                return await self._execute(kind, payload)
        finally:
            self.tasks -= 1

    async def _execute(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        for track in self._see(payload["view"]):
            self._end_track(track)
            await asyncio.sleep(0)
        result: dict[str, Any] = {}
        who, mod_id = payload.get("participant", ""), payload.get("modId", "")
        match kind:
            case "offer":
                result = await self._take_offer(who, mod_id, payload["sdp"], payload["fresh"])
            case "answer":
                result = await self._take_answer(who, mod_id, payload["sdp"])
            case "withdraw":
                self._withdraw(who, mod_id, rejected=payload["rejected"])
        if offers := await self._due_offers(payload.get("restarts", ()), payload["ready"]):
            result["offers"] = offers
        if without_leg := [id_ for id_, each in self.members.items() if each.seat.sits and each.leg is None]:
            result["withoutLeg"] = without_leg
        return result

    async def _due_offers(self, restarts: Sequence[Mapping[str, str]], ready: Sequence[str]) -> list[dict[str, Any]]:
        """Return the offers for legs that must be built anew, and for those that do not know everything yet."""
        restarted = {leg["participant"] for leg in restarts}
        due: list[Callable[[], Awaitable[dict[str, Any] | None]]] = [partial(self._restart, **leg) for leg in restarts]
        due += [partial(self._offer_to, id_) for id_ in ready if id_ not in restarted and not self._is_informed(id_)]
        offers = [await self._made(make) for make in due]
        return [offer for offer in offers if offer is not None]

    async def _made(self, make: Callable[[], Awaitable[dict[str, Any] | None]]) -> dict[str, Any] | None:
        """Return an offer; one that cannot be made is only its participant's loss."""
        try:
            return await make()
        except Exception:
            logger.exception("conference %s: an offer cannot be made", self.id)
            return None

    def _see(self, view: Mapping[str, Any]) -> list[Track]:
        """Bring seats, tracks and causes up to date; return the tracks that are over, of which nobody knows yet."""
        ended: list[Track] = []
        seats = {
            each["participant"]: Seat(each["state"] != "moving", each["state"] == "on-hold", frozenset(each["muted"]))
            for each in view["seats"]
        }
        for id_ in [id_ for id_ in self.members if id_ not in seats]:
            self._drop_leg(self.members.pop(id_))
            self._outgoing_is_stale = True
            ended += [self.tracks.pop(key) for key in list(self.tracks) if key[0] == id_]
        before = {id_: member.seat for id_, member in self.members.items()}
        for id_, seat in seats.items():
            member = self.members.setdefault(id_, Member(seat))
            member.seat = seat
            if not seat.sits:
                self._drop_leg(member)
        if view.get("cause"):
            cause = Cause(view["cause"]["modId"], view["cause"]["kind"])
            for member in self.members.values():
                if cause not in member.causes:
                    member.causes.append(cause)
        if before != seats:
            self._outgoing_is_stale = True
            self._open_tracks()
        return ended

    def _open_tracks(self) -> None:
        """Open the tracks that may be heard and seen, close the others."""
        for (id_, _), track in self.tracks.items():
            seat = self.members[id_].seat
            kind = "audio" if track.kind == "audio" else "video"
            is_open = seat.sits and not seat.is_on_hold and kind not in seat.muted
            if is_open != track.is_open:
                track.open() if is_open else track.close()
                if is_open:
                    track.key_frame_wanted = track.kind == "video"

    # --- Offers and answers -----------------------------------------------------------------------------------

    async def _take_offer(self, id_: str, mod_id: str, text: str, fresh: bool) -> dict[str, Any]:
        """Answer a participant's offer; a fresh one builds its leg anew."""
        member = self.members[id_]
        known = member.leg
        if known is not None and mod_id in known.answers:
            return _answered(known, mod_id)
        leg = known if known is not None and not fresh else self._new_leg(mod_id, id_)
        try:
            try:
                answer, layout = await self._answer(id_, leg, text)
            except NewAssociationError:
                leg = self._new_leg(mod_id, id_)
                answer, layout = await self._answer(id_, leg, text)
        except (NegotiationError, SdpError) as error:
            return {"refusal": {"code": "sdp-invalid", "detail": str(error)}}
        leg.answers[mod_id] = answer
        while len(leg.answers) > _ANSWERS_KEPT:
            del leg.answers[next(iter(leg.answers))]
        if leg is not known:
            self._drop_leg(member)
            member.leg = leg
            member.causes.clear()
        member.declined = None
        self._agreed_is_stale = True
        if member.leg is leg:
            self._settle(leg, layout)
        return _answered(leg, mod_id)

    async def _answer(self, id_: str, leg: Leg, text: str) -> tuple[str, Layout]:
        """Answer a participant's offer to this leg.

        :raises NewAssociationError: when the offer takes a fresh leg.
        """
        labels = {label for owner, label in self.tracks if owner == id_}
        work = partial(_answer, leg, text, self._agreed_by_others(id_), self._outgoing(id_), labels)
        return await self._services.aside(work)

    async def _take_answer(self, id_: str, mod_id: str, text: str) -> dict[str, Any]:
        """Settle the focus's own offer with the participant's answer."""
        member = self.members.get(id_)
        if member is None or member.leg is None:
            return {}
        if not member.awaits(mod_id):
            if mod_id == member.answered or not member.leg.negotiation.settled:
                return {}
            # The participant has applied what was overtaken here: only a fresh connection brings the two together.
            return {"refusal": {"code": "sdp-invalid", "detail": "The focus has made another offer since."}}
        member.answered = mod_id
        leg, may_change = member.leg, member.may_change(self._services.now())
        try:
            layout = await self._services.aside(partial(_settled, leg, text, may_change=may_change))
        except (NegotiationError, SdpError) as error:
            leg.negotiation.rollback()
            member.unusable += 1
            if member.unusable >= MOST_UNUSABLE_ANSWERS:
                member.declined, member.informed = self._outgoing(id_), None
            return {"refusal": {"code": "sdp-invalid", "detail": str(error)}}
        member.unusable = 0
        member.changes.left -= layout.published.keys() != leg.layout.published.keys()
        if member.leg is leg:
            self._settle(leg, layout)
        return {}

    def _withdraw(self, id_: str, mod_id: str, *, rejected: bool) -> None:
        """Forget an offer that came to nothing.

        What a participant has rejected is not offered again as it was. One of its own may have been answered here
        before it was cancelled: the answer never reached it.
        """
        member = self.members.get(id_)
        if member is None or member.leg is None:
            return
        if member.awaits(mod_id):
            member.leg.negotiation.rollback()
            if rejected:
                member.declined, member.informed = self._outgoing(id_), None
        elif mod_id == member.leg.id:
            self._drop_leg(member)
        elif mod_id == next(reversed(member.leg.answers), None):
            del member.leg.answers[mod_id]
            member.leg.negotiation.revoke()
            self._agreed_is_stale = True
            self._settle(member.leg, member.leg.layout.followed_by(member.leg.negotiation.sections))

    def _is_informed(self, id_: str) -> bool:
        """Tell whether a participant is known to need no offer; what happened meanwhile needs none either then."""
        member = self.members.get(id_)
        if member is None or member.leg is None:
            return True
        # What is stale raises the version when it is looked at, if it differs.
        if self._outgoing_is_stale or self._agreed_is_stale or member.informed != self._version:
            return False
        member.causes = []
        return True

    async def _offer_to(self, id_: str) -> dict[str, Any] | None:
        """Return the offer that tells a participant what it does not know yet; None when there is nothing."""
        member = self.members.get(id_)
        if member is None or member.leg is None:
            return None
        leg = member.leg
        if leg.negotiation.offering:
            # It may be on its way to the participant, written down after this task was, or not written down because
            # something else was pending: until it is answered, withdrawn or overtaken by the participant's own, it
            # stays as it is, and its ID tells whether it was written down.
            return member.offer
        outgoing = self._outgoing(id_)
        if outgoing == member.declined:
            member.causes = []
            return None
        if not leg.negotiation.settled:
            # Its fresh connection has been offered before, and nobody has answered.
            return await self._offer_connection(id_, member, leg, secrets.token_hex(16))
        agreed = self._agreed_by_all()
        version = self._version
        if member.informed == version:
            member.causes = []
            return None
        text = await self._services.aside(partial(leg.negotiation.create_offer, outgoing, agreed))
        causes, member.causes = member.causes, []
        if text is None:
            member.informed = version
            return None
        only = causes[0] if len({cause.kind for cause in causes}) == 1 else None
        member.offer = {
            "participant": id_,
            "modId": secrets.token_hex(16),
            "sdp": text,
            "kind": only.kind if only else "sync",
            "causedBy": next((cause.mod_id for cause in reversed(causes) if cause.mod_id), None),
        }
        return member.offer

    async def _restart(
        self,
        participant: str,
        modId: str,  # noqa: N803 - as tasks write it
        sdp: str,
        answer: str = "",
    ) -> dict[str, Any]:
        """Return the offer of a fresh leg to a participant whose node is gone.

        It is made from the participant's last offer, which was answered so, or from its last answer.
        """
        member = self.members[participant]
        member.lacks_opus = await self._services.aside(partial(_had_audio_without_opus, sdp, answer or sdp))
        leg = self._new_leg(modId, participant)
        await self._services.aside(partial(leg.negotiation.adopt, sdp, self._agreed_by_others(participant)))
        self._drop_leg(member)
        member.leg = leg
        self._agreed_is_stale = True
        return await self._offer_connection(participant, member, leg, modId)

    async def _offer_connection(self, id_: str, member: Member, leg: Leg, mod_id: str) -> dict[str, Any]:
        """Return the offer of a leg that has no connection yet; its ID becomes the leg's."""
        leg.id = mod_id
        create = partial(leg.negotiation.create_offer, self._outgoing(id_), self._agreed_by_all())
        member.offer = {
            "participant": id_,
            "modId": mod_id,
            "sdp": await self._services.aside(create),
            "kind": "sync",
            "causedBy": None,
            "restart": True,
        }
        return member.offer

    def _agreed(self, *, but: str = "") -> Agreed:
        """Return the codecs that all members, or all others, can receive.

        A member that takes an offer back may be left without a codec of those who have agreed since. It goes without
        media of that kind then, and nobody else does.
        """
        agreed = Agreed()
        for id_, member in self.members.items():
            if member.leg is not None and id_ != but:
                negotiation = member.leg.negotiation
                agreed = agreed.joined_by_what_fits(negotiation.capabilities, negotiation.shown)
        return agreed

    def _agreed_by_others(self, id_: str) -> Agreed:
        """Return what a member must agree to; two others with Opus do not lose it for the sake of who joins without."""
        others = [leg for leg in self.legs() if leg.participant != id_]
        with_opus = sum(takes_opus(leg.negotiation.capabilities) for leg in others)
        keeps_opus = with_opus >= OPUS_MEMBERS and not self.members[id_].lacks_opus
        return replace(self._agreed(but=id_), keeps_opus=keeps_opus)

    def _agreed_by_all(self) -> Agreed:
        """Return the codecs in use, of those that all members can receive; worked out when legs or offers change."""
        if self._agreed_is_stale:
            before, self._all_agreed = self._all_agreed, self._agreed().in_use()
            self._agreed_is_stale = False
            self._version += before.codecs != self._all_agreed.codecs
        return self._all_agreed

    def _outgoing(self, id_: str) -> tuple[Outgoing, ...]:
        """Return the tracks that a participant should get: those of all others."""
        if self._outgoing_is_stale:
            before, self._all_outgoing = self._all_outgoing, tuple(starmap(self._as_sent, self.tracks.items()))
            self._outgoing_is_stale = False
            self._version += before != self._all_outgoing
        return tuple(each for each in self._all_outgoing if each.stream != id_)

    def _as_sent(self, key: tuple[str, str], track: Track) -> Outgoing:
        """Return a track as receivers are told of it."""
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
        """Tell whether receivers are to expect media of a track: also while its owner is muted, or between devices."""
        member = self.members[owner]
        if not member.seat.sits:
            return True
        return not member.seat.is_on_hold and member.leg is not None and label in member.leg.layout.published

    # --- Legs and tracks --------------------------------------------------------------------------------------

    def _new_leg(self, id_: str, participant: str) -> Leg:
        """Return a leg that nobody can reach yet."""
        services = self._services
        return Leg(id_, participant, Negotiation(services.local), services.port, self, made_at=services.now())

    def _settle(self, leg: Leg, layout: Layout) -> None:
        """Let what has been negotiated take effect, at the cost of what has changed."""
        services, negotiation = self._services, leg.negotiation
        before, leg.layout = leg.layout, layout
        member = self.members[leg.participant]
        member.informed = None
        member.lacks_opus = "audio" in negotiation.capabilities and not takes_opus(negotiation.capabilities)
        for section in layout.published.values():
            if section.kind in {"audio", "video"}:
                self._publish(leg.participant, section)
        if before.published.keys() != layout.published.keys():
            self._outgoing_is_stale = True
            self._open_tracks()
        remote = negotiation.remote_credentials
        theirs = Credentials(remote.ufrag, remote.password) if remote else None
        local = Credentials(negotiation.local_credentials.ufrag, negotiation.local_credentials.password)
        if leg.agent is None:
            leg.agent = services.port.agents.open(leg, local, theirs)
        else:
            services.port.agents.restart(leg.agent, local, theirs)
        if leg.transport is None and negotiation.role is not None:
            leg.transport = Transport(
                services.certificate,
                negotiation.role,
                leg.send_datagram,
                handshakes=services.handshakes,
                on_state=leg.transport_is,
            )
        leg.expect()
        for (owner, label), track in self.tracks.items():
            if owner == leg.participant:
                track.resumes = track.resumes or label not in layout.published
        self._open_channels(leg)
        self._reroute(leg, before)

    def _publish(self, participant: str, section: Section) -> None:
        """Make sure that there is a track for what a participant sends on a media line, at its codec's clock rate."""
        key, clock_rate = (participant, section.label), section.codecs[0].clock_rate
        if key not in self.tracks:
            self.tracks[key] = Track(
                participant, section.label, section.kind, secrets.randbits(32), secrets.randbits(32), clock_rate
            )
        self.tracks[key].clock_rate = clock_rate

    def _open_channels(self, leg: Leg) -> None:
        """Open the data channels' association once there are a media line and a connection for it; end one without."""
        lines = (each for each in leg.layout.sections if each.sctp_port and not each.rejected)
        section = next(lines, None)
        if section is None and leg.channels is not None:
            self._services.spawn(leg.channels.close())
            leg.channels = None
        elif section is not None and leg.channels is None and leg.is_connected and leg.transport is not None:
            leg.channels = DataChannels(
                leg.transport,
                section.sctp_port or 0,
                section.max_message_size or 0,
                self._relay.take,
            )

    def _channels(self) -> list[DataChannels]:
        """Return the data channels of all legs that have some."""
        return [leg.channels for leg in self.legs() if leg.channels is not None]

    def legs(self) -> list[Leg]:
        """Return the legs that there are."""
        return [member.leg for member in self.members.values() if member.leg is not None]

    def _drop_leg(self, member: Member) -> None:
        """Take a leg out of the conference; its tracks stay."""
        leg, member.leg = member.leg, None
        if leg is None:
            return
        self._outgoing_is_stale = self._agreed_is_stale = True
        member.informed = None
        for (owner, _), track in self.tracks.items():
            track.detach(leg.id, for_good=True)
            track.resumes = track.resumes or owner == leg.participant
        if leg.agent is not None:
            self._services.port.agents.close(leg.agent)
        self._services.spawn(leg.close())

    def _end_track(self, track: Track) -> None:
        """Tell the receivers of a track that it is over."""
        for leg in self.legs():
            if track.ssrc in leg.sinks:
                self._services.port.send_rtcp(leg, rtcp.goodbye(track.ssrc))
                del leg.sinks[track.ssrc]
        for member in self.members.values():
            member.key_frames.pop(track.ssrc, None)
        track.end()

    def _route(self, leg: Leg) -> None:
        """Give a leg the tracks that its media lines have a place for, and no others."""
        leg.sinks = {}
        for track in self.tracks.values():
            self._connect(leg, track)

    def _reroute(self, leg: Leg, before: Layout) -> None:
        """Route again what a leg's new layout has changed: what others get of it, and what it gets."""
        for label in changed(before.published, leg.layout.published):
            track = self.tracks.get((leg.participant, label))
            for other in self.legs() if track is not None else ():
                if track is not None and (leg.participant, label) in other.layout.carried:
                    self._connect(other, track)
        for key in changed(before.carried, leg.layout.carried):
            if key in self.tracks:
                self._connect(leg, self.tracks[key])

    def _connect(self, leg: Leg, track: Track) -> None:
        """Let a leg get a track as both sides' media lines have it, or not at all."""
        member = self.members.get(leg.participant)
        # A handshake may end just after its leg was given up.
        is_served = leg.is_connected and member is not None and member.leg is leg
        wanted = is_served and track not in leg.withheld
        section = leg.layout.carried.get((track.participant, track.label)) if wanted else None
        sink = None
        if section is not None:
            # While the source is between two devices, everything stays as it is.
            sink = _sink(track, self._source(track), leg, section) or track.sinks.get(leg.id)
        if sink is not None and member is not None:
            self._attach(member, leg, track, sink)
        else:
            track.detach(leg.id)
            leg.sinks.pop(track.ssrc, None)

    def _attach(self, member: Member, leg: Leg, track: Track, sink: Sink) -> None:
        """Give a leg a track. Who gets it anew needs a key frame."""
        is_new = leg.id not in track.sinks
        leg.sinks[track.ssrc] = track.attach(leg.id, sink)
        if is_new and leg.id in track.sinks:
            self._want_key_frame(member, track)

    def _want_key_frame(self, member: Member, track: Track) -> None:
        """Note that a member needs a key frame of a track, if it may cause one."""
        if track.kind == "video" and not track.key_frame_wanted:
            track.key_frame_wanted = member.may_cause_key_frame(track, self._services.now())

    def _source(self, track: Track) -> Section | None:
        """Return the media line that a track comes from."""
        member = self.members.get(track.participant)
        return member.leg.layout.published.get(track.label) if member is not None and member.leg is not None else None

    # --- What legs tell ---------------------------------------------------------------------------------------

    def connected(self, leg: Leg) -> None:
        """The leg can send and receive media now."""
        self._open_channels(leg)
        self._route(leg)
        self._ask_for_key_frames()

    def disconnected(self, leg: Leg) -> None:
        """The leg's connection is over, and nobody here has ended it. A page that reloads comes back with a new one."""
        self._route(leg)

    def moved(self, leg: Leg) -> None:
        """The leg's media goes to another address, or in another manner; the first address begins the handshake."""
        leg.begin()
        self._route(leg)

    def track_of(self, leg: Leg, section: Section) -> Track | None:
        """Return the track that a participant publishes with a media line."""
        return self.tracks.get((leg.participant, section.label))

    def key_frame_wanted(self, leg: Leg, track: Track) -> None:
        """Ask for a key frame of a track for a leg, unless that was done a moment ago: then a little later."""
        asker = self.members.get(leg.participant)
        if asker is not None:
            self._want_key_frame(asker, track)
        member = self.members.get(track.participant)
        if member is not None and member.leg is not None:
            member.leg.ask_for_key_frames(self._services.now())

    def _ask_for_key_frames(self) -> None:
        """Ask at once for the key frames that are wanted."""
        now = self._services.now()
        for leg in self.legs():
            leg.ask_for_key_frames(now)

    def sender_reported(self, track: Track, ntp_time: int, timestamp: int) -> None:
        """Tell a track's receivers how its clock relates to the time of day."""
        for leg in self.legs():
            sink = leg.sinks.get(track.ssrc)
            if sink is not None:
                report = rtcp.sender_report(
                    track.ssrc,
                    ntp_time=ntp_time,
                    timestamp=timestamp + track.timestamp_shift,
                    packets=track.packets - sink.packets_before,
                    octets=track.octets - sink.octets_before,
                    cname=cname_of(track.participant),
                )
                self._services.port.send_rtcp(leg, report)

    # --- Time -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> Iterator[None]:
        """Do what is due, some times a second, leg by leg.

        The caller may let others work in between, who may end legs and bring new ones.
        """
        for id_, member in list(self.members.items()):
            if member.leg is not None:
                member.leg.tick(now)
                self._watch(id_, member, member.leg, now)
                yield
        self._listen(now)
        if now - self._reported_at >= REPORT_SECONDS:
            self._pace(now - self._reported_at)
            self._reported_at = now
            yield
            for member in list(self.members.values()):
                if member.leg is not None:
                    member.leg.report(now)
                    member.quality.judge(member.leg.lost(now))
                    yield

    def _pace(self, seconds: float) -> None:
        """Let senders of video slow down to what the slowest receiver takes."""
        for leg, track in self._pacer.pace(self.legs(), self.tracks.values(), seconds):
            self._connect(leg, track)

    def is_deserted(self, now: float) -> bool:
        """Tell whether nobody has had a leg for long: then everybody is gone, or another node serves them."""
        if self.tasks or any(self.legs()):
            self._deserted_at = None
        elif self._deserted_at is None:
            self._deserted_at = now
        return self._deserted_at is not None and now - self._deserted_at > LOST_SECONDS

    def _listen(self, now: float) -> None:
        """Find out who speaks: whoever is clearly the loudest on any line, and stays it until somebody else is."""
        loudness: dict[str, float] = {}
        for track in self.tracks.values():
            loudness[track.participant] = max(track.loudness, loudness.get(track.participant, 0.0))
            track.loudness *= LOUDNESS_KEPT
        loudest = max(loudness, key=loudness.__getitem__, default=None)
        if loudest is None or loudest == self._speaker or loudness[loudest] < AUDIBLE:
            return
        if now - self._speaks_since < SPEAKER_SECONDS:
            return
        if loudness[loudest] > 2 * loudness.get(self._speaker, 0.0):
            self._speaker, self._speaks_since = loudest, now
            self._services.reports.speaks(self.id, loudest)

    def _watch(self, id_: str, member: Member, leg: Leg, now: float) -> None:
        """Tell how somebody's connection is, when that changes or is poor, and give up a lost one."""
        silent_for = now - leg.seen_at
        if silent_for > SILENT_SECONDS:
            connection = Connection.DISCONNECTED
        else:
            connection = Connection.POOR if member.quality.is_poor else Connection.CONNECTED
        is_due = connection is Connection.POOR and now - member.told_at >= REMINDER_SECONDS
        if connection != member.connection or is_due:
            member.connection, member.told_at = connection, now
            self._services.reports.hears(self.id, id_, connection)
        if silent_for > LOST_SECONDS:
            logger.info("conference %s: leg %s of %s is lost", self.id, leg.id, id_)
            self._drop_leg(member)
            self._services.reports.lost(self.id, id_, leg.id)

    async def end(self) -> None:
        """End all legs, once the task that runs is done."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        """End all legs."""
        for member in self.members.values():
            self._drop_leg(member)
        self.members.clear()
        self.tracks.clear()


def _answer(leg: Leg, text: str, others: Agreed, outgoing: Sequence[Outgoing], labels: set[str]) -> tuple[str, Layout]:
    """Answer a participant's offer; `labels` are those of its tracks until now.

    :raises SdpError: when the text is no session description.
    :raises NegotiationError: when the leg cannot agree to it.
    """
    negotiation = leg.negotiation
    negotiation.receive_offer(text, others)
    if len(labels | negotiation.received_labels) > MAX_TRACKS:
        negotiation.rollback()
        raise NegotiationError(f"A participant sends no more than {MAX_TRACKS} tracks.")
    return negotiation.create_answer(outgoing), leg.layout.followed_by(negotiation.sections)


def _answered(leg: Leg, mod_id: str) -> dict[str, Any]:
    """Return the result of a participant's offer, which says whether the offer made this leg."""
    restart = {"restart": True} if leg.id == mod_id else {}
    return {"answer": leg.answers[mod_id], **restart}


def _settled(leg: Leg, text: str, *, may_change: bool) -> Layout:
    """Settle our offer with the participant's answer, which may perhaps change what it sends.

    :raises SdpError: when the text is no session description.
    :raises NegotiationError: when it does not answer our offer.
    """
    leg.negotiation.receive_answer(text, may_change=may_change)
    return leg.layout.followed_by(leg.negotiation.sections)


def _had_audio_without_opus(offer: str, answer: str) -> bool:
    """Tell whether a participant that offered this, and was answered so, had audio although it lacks Opus.

    :raises SdpError: when a text is no session description.
    """
    shown = read_capabilities(offer)
    has_audio = any(media.kind == "audio" for media in parse(answer).live())
    return has_audio and "audio" in shown and not takes_opus(shown)


def _sink(track: Track, source: Section | None, leg: Leg, section: Section) -> Sink | None:
    """Return how a leg gets a track on a media line; None while nothing comes from the track's source.

    A line without the codec that the source prefers gets nothing: what one receiver cannot take would go to nobody.
    """
    if source is None or leg.destination is None:
        return None
    ours = {codec.key: codec for codec in section.codecs}
    if source.codecs[0].key not in ours:
        ours = {}
    types = {codec.payload_type: ours[codec.key] for codec in source.codecs if codec.key in ours}
    return Sink(
        track=track,
        handle=leg.srtp_tx,
        address=leg.destination.address,
        payload_types={type_: codec.payload_type for type_, codec in types.items()},
        extensions={
            id_: section.extensions[uri]
            for uri, id_ in source.extensions.items()
            if uri in section.extensions and uri != MID
        },
        retransmits={
            codec.payload_type: codec.rtx_payload_type for codec in types.values() if codec.rtx_payload_type is not None
        },
        gso=leg.gso,
    )
