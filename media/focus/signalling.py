"""The offers and answers between the participants of a conference and the focus.

Another thread reads and writes the descriptions. While it does so, legs may be lost, but no other task of the
conference uses the legs' negotiations.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from media.focus.connections import Connections
from media.focus.layout import Layout
from media.focus.leg import Leg
from media.focus.media_plan import MediaPlan
from media.focus.participants import Participant
from media.focus.services import Aside
from media.messages import (
    AnswerTask,
    FocusOffer,
    OfferKind,
    OfferTask,
    Refusal,
    RefusalCode,
    Restart,
    Result,
    WithdrawTask,
)
from media.sdp.codecs import Agreed, read_capabilities, takes_opus
from media.sdp.description import NegotiationError, NewAssociationError, parse
from media.sdp.media_section import Outgoing
from media.sdp.syntax import SdpError

logger = logging.getLogger(__name__)

# A function that makes an offer if one is due.
_Make = Callable[[], Awaitable[FocusOffer | None]]
# How many answers a leg keeps, for tasks that are repeated after a crash.
_ANSWERS_KEPT = 8
# After this many unusable answers in a row, a participant gets no offer until the offered tracks change.
MOST_UNUSABLE_ANSWERS = 3
# How many tracks a participant may send. Each other leg needs a section per track, and the number of sections is
# limited.
MAX_TRACKS = 8


class Signalling:
    """The negotiations of one conference. `participants` may change while descriptions are read."""

    def __init__(
        self,
        conference_id: str,
        participants: Mapping[str, Participant],
        plan: MediaPlan,
        connections: Connections,
        aside: Aside,
        now: Callable[[], float],
    ) -> None:
        self._conference_id = conference_id
        self._participants = participants
        self._plan = plan
        self._connections = connections
        self._aside = aside
        self._now = now

    # --- From participants ------------------------------------------------------------------------------------

    async def take_offer(self, task: OfferTask) -> Result:
        """Answer a participant's offer. An offer of a new connection gets a new leg.

        The new leg replaces the old one if the offer can be answered.
        """
        participant, mod_id = self._participants[task.participant], task.mod_id
        known = participant.leg
        if known is not None and mod_id in known.answers:
            return _answered(known, mod_id)
        leg = known if known is not None and not task.fresh else self._connections.new(mod_id, participant.id)
        try:
            try:
                answer, layout = await self._answer(participant.id, leg, task.sdp)
            except NewAssociationError:
                leg = self._connections.new(mod_id, participant.id)
                answer, layout = await self._answer(participant.id, leg, task.sdp)
        except (NegotiationError, SdpError) as error:
            return _refused(str(error))
        leg.answers[mod_id] = answer
        while len(leg.answers) > _ANSWERS_KEPT:
            del leg.answers[next(iter(leg.answers))]
        if leg is not known:
            self._connections.drop(participant)
            participant.leg = leg
            participant.causes.clear()
        participant.declined = None
        self._plan.codecs_changed()
        if participant.leg is leg:
            self._connections.settle(leg, layout)
        return _answered(leg, mod_id)

    async def _answer(self, id_: str, leg: Leg, text: str) -> tuple[str, Layout]:
        """Answer a participant's offer to this leg.

        :raises NewAssociationError: when the offer needs a new leg.
        """
        labels = self._plan.labels(id_)
        return await self._aside(
            partial(_answer, leg, text, self._plan.agreed_by_others(id_), self._plan.outgoing(id_), labels)
        )

    async def take_answer(self, task: AnswerTask) -> Result:
        """Settle the focus's offer with the participant's answer."""
        participant = self._participants.get(task.participant)
        if participant is None or participant.leg is None:
            return Result()
        if not participant.awaits(task.mod_id):
            if task.mod_id == participant.answered or not participant.leg.negotiation.settled:
                return Result()
            # The participant has applied an offer that the focus has since replaced. The two sides now differ, and only
            # a new connection makes them agree again.
            return _refused("The focus has since made another offer.")
        participant.answered = task.mod_id
        leg, may_change = participant.leg, participant.may_change(self._now())
        try:
            layout = await self._aside(partial(_settled, leg, task.sdp, may_change=may_change))
        except (NegotiationError, SdpError) as error:
            leg.negotiation.rollback()
            participant.unusable += 1
            if participant.unusable >= MOST_UNUSABLE_ANSWERS:
                self._note_declined(participant)
            return _refused(str(error))
        participant.unusable = 0
        participant.changes.left -= layout.published.keys() != leg.layout.published.keys()
        if participant.leg is leg:
            self._connections.settle(leg, layout)
        return Result()

    def _note_declined(self, participant: Participant) -> None:
        """Record that a participant gets no new offer until the offered tracks change."""
        participant.declined, participant.informed = self._plan.outgoing(participant.id), None

    def withdraw(self, task: WithdrawTask) -> None:
        """Roll back an offer that was rejected, cancelled or has expired.

        A rejected offer is not made again unchanged. If the participant cancelled its own offer, the focus may already
        have answered it. That answer never reached the participant, so the focus takes the answer back. If the offer
        created the leg, the focus drops the leg.
        """
        participant = self._participants.get(task.participant)
        if participant is None or participant.leg is None:
            return
        leg = participant.leg
        if participant.awaits(task.mod_id):
            leg.negotiation.rollback()
            if task.rejected:
                self._note_declined(participant)
        elif task.mod_id == leg.id:
            self._connections.drop(participant)
        elif task.mod_id == next(reversed(leg.answers), None):
            del leg.answers[task.mod_id]
            leg.negotiation.revoke()
            self._plan.codecs_changed()
            self._connections.settle(leg, leg.layout.followed_by(leg.negotiation.sections))

    # --- To participants --------------------------------------------------------------------------------------

    async def due_offers(self, restarts: Sequence[Restart], ready: Sequence[str]) -> tuple[FocusOffer, ...]:
        """Return the offers for legs that must be rebuilt, and for legs whose negotiation differs from the plan.

        :param restarts: the legs to rebuild.
        :param ready: the IDs of the participants that may get an offer now.
        """
        restarted = {restart.participant for restart in restarts}
        due: list[_Make] = [partial(self._restart, restart) for restart in restarts]
        due += [partial(self._offer_to, id_) for id_ in ready if id_ not in restarted and not self._is_informed(id_)]
        offers = [await self._made(make) for make in due]
        return tuple(offer for offer in offers if offer is not None)

    async def _made(self, make: _Make) -> FocusOffer | None:
        """Make an offer and return it. If that fails, the other participants still get their offers."""
        try:
            return await make()
        except Exception:
            logger.exception("conference %s: an offer cannot be made", self._conference_id)
            return None

    def _is_informed(self, id_: str) -> bool:
        """Tell whether a participant is known to need no offer. If so, drop its causes: no offer announces them."""
        participant = self._participants.get(id_)
        if participant is None or participant.leg is None:
            return True
        if not self._plan.is_version(participant.informed):
            return False
        participant.causes = []
        return True

    async def _offer_to(self, id_: str) -> FocusOffer | None:
        """Return the offer that brings a participant up to date; None if it is up to date."""
        participant = self._participants.get(id_)
        if participant is None or participant.leg is None:
            return None
        leg = participant.leg
        if leg.negotiation.offering:
            # The operations may already have stored this offer, before or after they wrote this task. Or they did not
            # store it, because another offer was pending. So return it again: by its ID, they recognise an offer that
            # they have stored. The offer stays unchanged until it is answered, withdrawn, or replaced by the
            # participant's own offer.
            return participant.offer
        outgoing = self._plan.outgoing(id_)
        if outgoing == participant.declined:
            participant.causes = []
            return None
        if not leg.negotiation.settled:
            # The focus has offered a new connection to the participant, and that offer was not answered.
            return await self._offer_connection(participant, leg, secrets.token_hex(16))
        codecs = self._plan.codecs_in_use()
        version = self._plan.version
        if participant.informed == version:
            participant.causes = []
            return None
        text = await self._aside(partial(leg.negotiation.create_offer, outgoing, codecs))
        causes, participant.causes = participant.causes, []
        if text is None:
            participant.informed = version
            return None
        only = causes[0] if len({cause.kind for cause in causes}) == 1 else None
        participant.offer = FocusOffer(
            participant=id_,
            mod_id=secrets.token_hex(16),
            sdp=text,
            kind=only.kind if only else OfferKind.SYNC,
            caused_by=next((cause.mod_id for cause in reversed(causes) if cause.mod_id), None),
        )
        return participant.offer

    async def _restart(self, restart: Restart) -> FocusOffer | None:
        """Build a new leg for a participant whose node is gone, and return the leg's offer."""
        participant = self._participants[restart.participant]
        answer = restart.answer or restart.sdp
        participant.lacks_opus = await self._aside(partial(_had_audio_without_opus, restart.sdp, answer))
        leg = self._connections.new(restart.mod_id, participant.id)
        await self._aside(partial(leg.negotiation.adopt, restart.sdp, self._plan.agreed_by_others(participant.id)))
        self._connections.drop(participant)
        participant.leg = leg
        self._plan.codecs_changed()
        return await self._offer_connection(participant, leg, restart.mod_id)

    async def _offer_connection(self, participant: Participant, leg: Leg, mod_id: str) -> FocusOffer | None:
        """Return the offer of a leg that has no connection yet. The offer's ID becomes the leg's ID."""
        leg.id = mod_id
        create = partial(leg.negotiation.create_offer, self._plan.outgoing(participant.id), self._plan.codecs_in_use())
        text = await self._aside(create)
        if text is None:
            return None
        participant.offer = FocusOffer(participant.id, mod_id, text, OfferKind.SYNC, caused_by=None, restart=True)
        return participant.offer


def _answer(leg: Leg, text: str, others: Agreed, outgoing: Sequence[Outgoing], labels: set[str]) -> tuple[str, Layout]:
    """Answer a participant's offer. `labels` holds the labels of the participant's tracks so far.

    :raises SdpError: when the text is not a session description.
    :raises NegotiationError: when the leg cannot agree to the offer.
    """
    negotiation = leg.negotiation
    negotiation.receive_offer(text, others)
    if len(labels | negotiation.received_labels) > MAX_TRACKS:
        negotiation.rollback()
        raise NegotiationError(f"A participant sends no more than {MAX_TRACKS} tracks.")
    return negotiation.create_answer(outgoing), leg.layout.followed_by(negotiation.sections)


def _answered(leg: Leg, mod_id: str) -> Result:
    """Return the result of a participant's offer. `restart` says whether the offer created this leg."""
    return Result(answer=leg.answers[mod_id], restart=leg.id == mod_id)


def _refused(detail: str) -> Result:
    """Return the result of an offer or answer that cannot be used."""
    return Result(refusal=Refusal(RefusalCode.SDP_INVALID, detail))


def _settled(leg: Leg, text: str, *, may_change: bool) -> Layout:
    """Settle our offer with the participant's answer.

    :param may_change: whether the answer may change which media the participant sends.
    :raises SdpError: when the text is not a session description.
    :raises NegotiationError: when the text does not answer our offer.
    """
    leg.negotiation.receive_answer(text, may_change=may_change)
    return leg.layout.followed_by(leg.negotiation.sections)


def _had_audio_without_opus(offer: str, answer: str) -> bool:
    """Tell whether a participant that lacks Opus had audio, according to its offer and the answer to the offer.

    :raises SdpError: when a text is not a session description.
    """
    shown = read_capabilities(offer)
    has_audio = any(media.kind == "audio" for media in parse(answer).live())
    return has_audio and "audio" in shown and not takes_opus(shown)
