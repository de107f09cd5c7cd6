"""A conference on its node: it carries out tasks and does periodic work.

Every task contains the state of the whole conference (`ConferenceView`). So tasks can be repeated, and a later task
corrects the omissions of an earlier one. The parts of a conference have modules of their own:

- `signalling`: offers and answers, and which leg needs an offer.
- `media_plan`: the tracks that each leg should get, and the codecs that all legs agree on.
- `connections`: makes, settles and drops legs, and reacts to their events.
- `routing`: connects tracks with legs, and passes on key frame requests and sender reports.
- `chat`: data channels.
- `pacing`: how fast senders may send video.
- `layers`: which layer of each video each leg gets.
- `pauses`: which videos each leg does not get because it is slow.
- `views`: which videos each leg can see.
- `usage`: which layers of its videos each sender may switch off.
- `speakers`: the active speaker.
- `liveness`: which connections are poor, silent or lost.
- `sampler`: samples of the quality of each connection, for support.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from media.focus.chat import Chat
from media.focus.connections import Connections
from media.focus.layers import LayerChoice
from media.focus.leg import Leg
from media.focus.liveness import Liveness
from media.focus.media_plan import MediaPlan
from media.focus.pacing import Pacer
from media.focus.participants import Participant, State, legs_of
from media.focus.pauses import Pauses
from media.focus.redundancy import Redundancy
from media.focus.routing import Routing
from media.focus.sampler import Sampler
from media.focus.services import Services
from media.focus.signalling import Signalling
from media.focus.speakers import Speakers
from media.focus.usage import Usage
from media.focus.views import Views
from media.forward.tracks import Track
from media.messages import AnswerTask, Cause, ConferenceView, OfferTask, Result, Task, UpdateTask, WithdrawTask

# How often receiver reports are sent and video is paced.
REPORT_SECONDS = 1.0
# How often the layers of the receivers are chosen.
CHOICE_SECONDS = 0.3
# How often the quality of the connections is sampled.
SAMPLE_SECONDS = 5.0


class Conference:
    """One conference. Its code runs on the node's loop, and none of it waits for the network.

    Other modules may read `participants` and `tracks`, and query `connections` and `plan`. `tasks` is the number of
    tasks that run or wait for their turn.
    """

    def __init__(self, id_: str, services: Services, generation: int = 1) -> None:
        self.id = id_
        self.generation = generation
        self.tasks = 0
        self.participants: dict[str, Participant] = {}
        self.routing = Routing(self.participants, services.port.send_rtcp, services.now)
        self.tracks = self.routing.tracks
        self.plan = MediaPlan(self.participants, self.tracks)
        chat = Chat(self.participants, services.deliveries, services.spawn)
        self.connections = Connections(self.participants, services, self.plan, self.routing, chat)
        self._signalling = Signalling(id_, self.participants, self.plan, self.connections, services.aside, services.now)
        self._liveness = Liveness(id_, services.reports, self.connections.drop)
        self._speakers = Speakers(partial(services.reports.speaker_changed, id_))
        self._pacer = Pacer()
        usage = Usage(partial(services.reports.noticed, id_))
        self._layers = LayerChoice(self.routing, usage, services.spawn, services.now)
        self._views = Views(self.routing)
        self._pauses = Pauses(partial(services.reports.noticed, id_))
        self._redundancy = Redundancy()
        self._sampler = Sampler(self.routing)
        self._report_samples = partial(services.reports.sampled, id_)
        self._reported_at = self._chosen_at = 0.0
        self._sampled_at = services.now()
        self._turn = asyncio.Lock()

    def legs(self) -> list[Leg]:
        """Return the existing legs."""
        return legs_of(self.participants)

    # --- Tasks ------------------------------------------------------------------------------------------------

    async def execute(self, task: Task, view: ConferenceView) -> Result:
        """Carry out a task and return its result. The conference's tasks run one after the other."""
        self.tasks += 1
        try:
            async with self._turn:
                return await self._execute(task, view)
        finally:
            self.tasks -= 1

    async def _execute(self, task: Task, view: ConferenceView) -> Result:
        for track in self._apply(view):
            self.routing.end(track)
            await asyncio.sleep(0)
        result, restarts = Result(), task.restarts if isinstance(task, UpdateTask) else ()
        match task:
            case OfferTask():
                result = await self._signalling.take_offer(task)
            case AnswerTask():
                result = await self._signalling.take_answer(task)
            case WithdrawTask():
                self._signalling.withdraw(task)
        offers = await self._signalling.due_offers(restarts, view.ready)
        present = [each for each in self.participants.values() if each.state.is_present]
        return replace(result, offers=offers, without_leg=tuple(each.id for each in present if each.leg is None))

    def _apply(self, view: ConferenceView) -> list[Track]:
        """Update participants, tracks and causes of offers. Return the removed tracks, which the caller must end."""
        states = {each.id: State.of(each) for each in view.participants}
        removed = [
            track for id_ in [*self.participants] if id_ not in states for track in self._remove_participant(id_)
        ]
        before = {each.id: each.state for each in self.participants.values()}
        for id_, state in states.items():
            participant = self.participants.setdefault(id_, Participant(id_, state))
            participant.state = state
            if not state.is_present:
                self.connections.drop(participant)
        if view.cause is not None:
            self._add_cause(view.cause)
        if before != states:
            self.plan.tracks_changed()
            self.routing.open_tracks()
        return removed

    def _remove_participant(self, id_: str) -> list[Track]:
        self.connections.drop(self.participants.pop(id_))
        self.plan.tracks_changed()
        return self.routing.remove_tracks(id_)

    def _add_cause(self, cause: Cause) -> None:
        """Announce this modification in the next offer to each participant."""
        for participant in self.participants.values():
            if cause not in participant.causes:
                participant.causes.append(cause)

    # --- Time -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> Iterator[None]:
        """Do the periodic work, leg by leg. Call this method several times per second.

        It yields after each leg. At each yield, the caller may run other work, which may drop legs and add new ones.
        """
        for participant in list(self.participants.values()):
            if participant.leg is not None:
                participant.leg.tick(now)
                self._liveness.watch(participant, now)
                yield
        self._speakers.listen(self.tracks.values(), now)
        is_due = now - self._chosen_at >= CHOICE_SECONDS
        if is_due:
            yield from self._views.update(self.legs())
        yield from self._layers.choose(self.legs(), now, only_urgent=not is_due)
        if is_due:
            self._chosen_at = now
            self._pauses.update(self.legs(), now)
        if now - self._reported_at >= REPORT_SECONDS:
            self.pace(now - self._reported_at)
            self._reported_at = now
            yield
            for participant in list(self.participants.values()):
                if participant.leg is not None:
                    participant.leg.report(now)
                    losses = participant.leg.losses(now)
                    participant.quality.judge(max(losses))
                    self._sampler.note(participant.leg, *losses, now)
                    yield
            for leg, track in self._redundancy.choose(self.legs(), now):
                self.routing.connect(leg, track)
        if now - self._sampled_at >= SAMPLE_SECONDS:
            self._sampled_at = now
            for samples in self._sampler.sample(self.legs(), now):
                self._report_samples(samples)
                yield

    def pace(self, seconds: float) -> None:
        """Slow down senders of video to the rate that the slowest receiver can take.

        :param seconds: the time since this was last called.
        """
        rates = {track: track.rate(seconds) for track in self.routing.every_track()}
        self._layers.measured(rates)
        self._sampler.measured(rates, seconds)
        for leg, track in self._pacer.pace(self.legs(), rates, seconds):
            self.routing.connect(leg, track)

    def is_deserted(self, now: float) -> bool:
        """Tell whether the conference has been unused for LOST_SECONDS (`Liveness.is_deserted`)."""
        return self._liveness.is_deserted(now, is_used=bool(self.tasks or self.legs()))

    # --- The end ----------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Close all legs. If a task is running, wait for its end first."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        """Close all legs."""
        for participant in self.participants.values():
            self.connections.drop(participant)
        self.participants.clear()
        self.tracks.clear()
