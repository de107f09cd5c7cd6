"""One call of a bot: its negotiation, its states and its audio."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiortc import RTCDataChannel

from sbe_client.asynchronous import AsyncClient
from sbe_client.bot import audio, sdp
from sbe_client.bot.audio import Frame, Heard, Playout
from sbe_client.bot.leg import Leg
from sbe_client.errors import CallOver, Refusal, SbeError
from sbe_client.exchange import back_off
from sbe_client.shapes import Conference, Description, Event, Leaving, Participant

logger = logging.getLogger(__name__)

State = Literal["calling", "open", "on-hold", "held", "moving", "ended"]

# Seconds that the settlement of an offer may take. The enabler's own limit is 30 s by default.
_SETTLING: Final = 130.0
# Seconds from a lost connection to the first attempt of a new one, and the number of attempts.
_REPAIR_AFTER, _REPAIRS = 3.0, 3
# How often an offer is repeated that another offer preceded.
_GLARES = 8
_EVENTS, _CHANGES, _LONGEST_TEXT = 256, 64, 4_000
_PRESENT = frozenset({"accepted", "on-hold", "moving"})


@dataclass(frozen=True, slots=True)
class Change:
    """Something the application may react to: a new `state`, or a chat message (`text`, from `participant`)."""

    state: State
    text: str | None = None
    participant: str | None = None


@dataclass
class _Offer:
    """The own offer that is not settled yet. `mod_id` is None until the enabler has answered the request."""

    leg: Leg
    description: Description
    holds: bool
    settled: "asyncio.Future[str]"
    mod_id: str | None = None


class BotCall:
    """A call that a bot takes part in. `Bot` makes it.

    Methods raise `CallOver` once the call has ended, and `Refusal` if the enabler refuses.
    """

    def __init__(self, client: AsyncClient, rate: int, topology: str, forget: Callable[["BotCall"], None]) -> None:
        """Prepare a call. `forget` is called when it has ended."""
        self.conf_id = ""
        self.topology = topology
        self.rate = rate
        self.me = ""
        self.participants: dict[str, Participant] = {}
        self.end_reason: str | None = None
        self._client, self._forget = client, forget
        self._heard, self._playout = Heard(), Playout(rate)
        self._opened, self._over = asyncio.Event(), asyncio.Event()
        self._holds = self._moving = False
        self._leg = self._new_leg()
        self._offer: _Offer | None = None
        # One change at a time; and one offer or answer of this side on its way at a time.
        self._changing, self._negotiating = asyncio.Lock(), asyncio.Lock()
        self._events: asyncio.Queue[Event] = asyncio.Queue(_EVENTS)
        self._changes: asyncio.Queue[Change] = asyncio.Queue(_CHANGES)
        self._told: State = "calling"
        self._tasks: set[asyncio.Task[None]] = set()

    # --- What the application uses ----------------------------------------------------------------------

    @property
    def state(self) -> State:
        """`calling`, `open`, `on-hold` (this side), `held` (all others are on hold or moving), `moving` or `ended`."""
        if self.end_reason is not None:
            return "ended"
        if self._moving:
            return "moving"
        if not self._opened.is_set():
            return "calling"
        if self._holds:
            return "on-hold"
        states = {each.state for each in self.others}
        return "held" if states and states <= {"on-hold", "moving"} else "open"

    @property
    def others(self) -> list[Participant]:
        """The other participants that are present."""
        return [each for each in self.participants.values() if each.id != self.me and each.state in _PRESENT]

    @property
    def frames_dropped(self) -> int:
        """How many frames were dropped because the application did not take them within a second."""
        return self._heard.dropped

    def audio(self) -> AsyncIterator[Frame]:
        """Yield what the others say, 20 ms at a time, until the call ends: 16-bit mono PCM at the bot's rate.

        The frames of several participants alternate. While the others are on hold or muted, nothing comes.
        """
        return self._heard.frames()

    async def play(self, source: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Send 16-bit mono PCM at the bot's rate, in chunks of any size, in real time; return when it has been sent.

        During a hold of either side it pauses. Cancel the task to stop it, and call `stop_playing`.

        :raises CallOver: when the call ends before the end of the source.
        """
        await self._unless_over(self._playout.play(source))

    async def play_tone(self, hertz: float, seconds: float) -> None:
        """Send a tone."""
        await self.play(audio.tone(hertz, seconds, self.rate))

    async def play_wav(self, path: str | Path) -> None:
        """Send a WAV file of any rate, or another file that FFmpeg reads."""
        await self.play(audio.file(path, self.rate))

    def stop_playing(self) -> None:
        """Drop the up to 200 ms of audio that wait to be sent."""
        self._playout.clear()

    async def changes(self) -> AsyncIterator[Change]:
        """Yield new states and chat messages, and last the state `ended`. If 64 wait, the oldest is dropped."""
        while True:
            change = await self._changes.get()
            yield change
            if change.state == "ended":
                return

    async def say(self, text: str, timeout: float = 10.0) -> None:
        """Send a chat message to all others (only in `focus`). The focus stores none: only open chats get it.

        :raises TimeoutError: when the chat does not open within `timeout` seconds.
        """
        self._require_going()
        async with asyncio.timeout(timeout):
            while (channel := self._leg.chat) is None or channel.readyState != "open":
                await asyncio.sleep(0.05)
        channel.send(json.dumps({"id": secrets.token_hex(8), "from": self.me, "text": text[:_LONGEST_TEXT]}))

    async def hold(self) -> str:
        """Put the call on hold; return how the offer was settled.

        That is `accepted`, `rejected`, `cancelled` or `expired`.
        """
        return await self._change("initiate-conference-hold", holds=True)

    async def resume(self) -> str:
        """Resume; return how the offer was settled, as `hold` does."""
        return await self._change("initiate-conference-resume", holds=False)

    async def move(self) -> Leaving:
        """Move the call to another device of the bot's user: all of them ring.

        With an API key, this first checks that there is another device, because a move to nowhere ends the call. When a
        device has answered, the call ends here (`moved`). If none answers in time, it ends for the bot (`no-answer`).

        :raises SbeError: when the user has no other device; the call goes on.
        """
        await self._require_device()
        async with self._changing:
            await self._send_offer("initiate-call-hold", holds=True)
            left = await self._client.hang_up(self.conf_id)
            self._offer = None
        if left.outcome == "moving":
            self._moving = True
            self._tell()
            await self._leg.close()
        else:
            self.end(left.move_refused or "hung-up")
        return left

    async def hang_up(self) -> None:
        """End the own part. May be repeated."""
        if self.end_reason is None:
            self.end("hung-up")
            await self._client.hang_up(self.conf_id)

    async def ended(self) -> str:
        """Wait until the call has ended; return the reason."""
        await self._over.wait()
        return self.end_reason or ""

    # --- What the bot uses ------------------------------------------------------------------------------

    async def answer(self, invitation: Event) -> None:
        """Answer an invitation.

        :raises Refusal: when it does not ring any more.
        :raises CallOver: when the enabler or the other side cannot use the bot's description.
        """
        self._join(invitation.conference)
        self.me = invitation.participant.id if invitation.participant else self.me
        if invitation.description is not None:
            answer = await self._leg.answer(invitation.description, holds=False)
            await self._client.answer(self.conf_id, answer)
        else:
            offer = await self._first_offer()
            offer.mod_id = await self._client.answer(self.conf_id, offer.description)
            await self._settled(offer)
        self._join(await self._client.conference(self.conf_id))
        self._opened.set()
        self._tell()

    async def place(self, to: str) -> None:
        """Call a user. `follow` starts the events afterwards."""
        offer = await self._first_offer()
        conference = await self._client.call(to, offer.description, topology=self.topology)
        offer.mod_id = conference.mod_id
        self._join(conference)
        session = self._client.session
        mine = [each.id for each in conference.participants if session and each.session_id == session.id]
        self.me = mine[0] if mine else ""

    async def opened(self) -> None:
        """Wait until the other side has answered.

        :raises CallOver: when it does not.
        """
        await self._unless_over(self._opened.wait())

    def follow(self) -> None:
        """Start to handle events."""
        self._spawn(self._run())

    def take(self, event: Event) -> None:
        """Handle an event of this conference later, in order."""
        if self._events.full():
            self.end("too many events")
        else:
            self._events.put_nowait(event)

    def end(self, reason: str) -> None:
        """Note that the call has ended."""
        if self.end_reason is not None:
            return
        self.end_reason = reason
        self._heard.end()
        self._over.set()
        if self._offer is not None and not self._offer.settled.done():
            self._offer.settled.set_result("ended")
        self._tell()
        self._forget(self)

    async def close(self) -> None:
        """End, and free everything."""
        self.end("hung-up")
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._leg.close()

    async def check(self) -> None:
        """Compare with the conference, after events were lost."""
        try:
            conference = await self._client.conference(self.conf_id)
        except Refusal as refusal:
            return self.end(refusal.code)
        self._join(conference)
        mine = self.participants.get(self.me)
        if conference.state == "session-terminated" or (mine and mine.state == "left"):
            self.end((mine and mine.left_reason) or "conference-ended")
        return self._tell()

    # --- Events -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        event_or_end = asyncio.create_task(self._over.wait())
        try:
            while not self._over.is_set():
                getting = asyncio.create_task(self._events.get())
                await asyncio.wait({getting, event_or_end}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    break
                await self._handle(getting.result())
        finally:
            event_or_end.cancel()
            await self._leg.close()

    async def _handle(self, event: Event) -> None:
        try:
            match event.type:
                case "mod-received":
                    await self._take_offer(event)
                case "mod-accepted":
                    await self._take_answer(event)
                case "mod-rejected" | "mod-cancelled" | "mod-expired":
                    self._settle(event, event.type.removeprefix("mod-"))
                case "session-open":
                    await self._take_opening(event)
                case "session-terminated":
                    self.end(event.reason or "conference-ended")
                case _:
                    self._take_news(event)
        except SbeError as error:
            logger.warning("Event %s of %s was not handled: %s", event.type, self.conf_id, error)
        except Exception:
            logger.exception("Event %s of %s was not handled", event.type, self.conf_id)

    def _take_news(self, event: Event) -> None:
        participant = event.participant
        if participant is None:
            return
        self.participants[participant.id] = participant
        session = self._client.session
        if participant.id == self.me and event.type == "participant-left":
            self.end(event.reason or "left")
        elif participant.id == self.me and event.type == "participant-moved" and session:
            self.end("moved") if participant.session_id != session.id else self._tell()
        else:
            self._tell()

    async def _take_opening(self, event: Event) -> None:
        if event.conference:
            self._join(event.conference)
        if event.description is not None:
            await self._take_answer(event)
        self._opened.set()
        self._tell()

    # --- Offers and answers -----------------------------------------------------------------------------

    async def _take_offer(self, event: Event) -> None:
        offer = event.description
        if offer is None or event.mod_id is None:
            return
        async with self._negotiating:
            ufrag = sdp.ufrag_of(offer.sdp)
            # aiortc cannot restart ICE. So new credentials need a new connection, as `restart` does.
            fresh = event.restart or self._leg.remote_ufrag not in {None, ufrag}
            leg = self._new_leg() if fresh else self._leg
            try:
                answer = await leg.answer(offer, holds=self._holds)
            except Exception as error:
                logger.warning("An offer of %s cannot be used: %r", self.conf_id, error)
                await self._client.reject(self.conf_id, event.mod_id)
                # aiortc may have applied half of it.
                await leg.close() if fresh else self._spawn(self._repair(leg, 0.0))
                return
            try:
                await self._client.accept(self.conf_id, event.mod_id, answer)
            except SbeError as error:
                if fresh:
                    await leg.close()
                # A move cancels a hold that is not answered yet. The offer of the other device follows.
                if isinstance(error, Refusal) and error.code == "modification-settled":
                    logger.debug("An offer of %s was settled before its answer.", self.conf_id)
                    return
                raise
            if fresh:
                await self._replace(leg)

    async def _take_answer(self, event: Event) -> None:
        offer, answer = self._offer, event.description
        if offer is None or answer is None or offer.mod_id not in {None, event.mod_id}:
            return
        self._holds = offer.holds
        try:
            await offer.leg.take_answer(offer.description, answer, holds=offer.holds)
        except Exception:
            # aiortc cannot use the answer, and may have applied half of it.
            self._settle(event, "rejected")
            self._spawn(self._repair(offer.leg, 0.0))
            raise
        if offer.leg is not self._leg:
            await self._replace(offer.leg)
        self._settle(event, "accepted")
        self._tell()

    def _settle(self, event: Event, result: str) -> None:
        offer = self._offer
        if offer is not None and offer.mod_id in {None, event.mod_id} and not offer.settled.done():
            offer.settled.set_result(result)
            self._offer = None

    async def _change(self, action: str, *, holds: bool, afresh: bool = False) -> str:
        async with self._changing:
            return await asyncio.wait_for(
                (await self._send_offer(action, holds=holds, afresh=afresh)).settled, _SETTLING
            )

    async def _send_offer(self, action: str, *, holds: bool, afresh: bool = False) -> _Offer:
        """Send an offer. If another one is pending, wait for its end and try again, after a random pause."""
        for attempt in range(_GLARES + 1):
            self._require_going()
            try:
                return await self._offer_once(action, holds, afresh)
            except Refusal as refusal:
                self._offer = None
                if refusal.code not in {"modification-pending", "participant-moving"} or attempt == _GLARES:
                    raise
            await asyncio.sleep(0.05 + back_off(attempt, base=0.2))
        raise AssertionError("unreachable")

    async def _offer_once(self, action: str, holds: bool, afresh: bool) -> _Offer:
        async with self._negotiating:
            leg = self._new_leg() if afresh else self._leg
            settled = asyncio.get_running_loop().create_future()
            try:
                description = await leg.first_offer(holds=holds) if afresh else leg.offer(holds=holds)
                offer = self._offer = _Offer(leg, description, holds, settled)
                mod_id = await self._client.offer(self.conf_id, action, description)
            except BaseException:
                if afresh:
                    await leg.close()
                raise
            # The events may have been faster than the answer to the request.
            offer.mod_id = mod_id
            return offer

    async def _first_offer(self) -> _Offer:
        description = await self._leg.first_offer(holds=False)
        settled = asyncio.get_running_loop().create_future()
        self._offer = _Offer(self._leg, description, False, settled)
        return self._offer

    async def _settled(self, offer: _Offer) -> None:
        result = await asyncio.wait_for(offer.settled, _SETTLING)
        if result != "accepted":
            self.end(result)
            raise CallOver(self.end_reason or result)

    # --- Connections ------------------------------------------------------------------------------------

    def _new_leg(self) -> Leg:
        session = self._client.session
        leg: Leg
        leg = Leg(
            self._playout,
            self._hear,
            lambda: self._spawn(self._repair(leg, _REPAIR_AFTER)),
            session.ice_servers if session else (),
        )
        if self.topology == "focus":
            self._attach(leg.open_chat())
        return leg

    async def _replace(self, leg: Leg) -> None:
        old, self._leg = self._leg, leg
        await old.close()

    async def _repair(self, broken: Leg, after: float) -> None:
        """Offer a new connection, unless the other side or the enabler does so first."""
        for _ in range(_REPAIRS):
            await asyncio.sleep(after + back_off(0, base=after))
            if self.end_reason or self._moving or self._leg is not broken:
                return
            try:
                await self._change("initiate-conference-mod", holds=self._holds, afresh=True)
            except (SbeError, TimeoutError) as error:
                logger.info("The connection of %s was not repaired: %s", self.conf_id, error)
            after = _REPAIR_AFTER
        if self._leg is broken and not self._moving:
            await self.hang_up()

    def _hear(self, frame: Frame) -> None:
        if frame.participant is None and len(self.others) == 1:
            frame = Frame(frame.pcm, self.others[0].id)
        self._heard.put(frame)

    def _attach(self, channel: RTCDataChannel) -> None:
        channel.on("message", self._read)

    def _read(self, message: str | bytes) -> None:
        try:
            data = json.loads(message)
            text, sender = data["text"], data["from"]
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(text, str) and sender in self.participants:
            self._announce(Change(self.state, text[:_LONGEST_TEXT], sender))

    # --- State ------------------------------------------------------------------------------------------

    def _join(self, conference: Conference | None) -> None:
        if conference is not None:
            self.conf_id, self.topology = conference.id, conference.topology
            self.participants |= {each.id: each for each in conference.participants}

    def _tell(self) -> None:
        self._playout.paused = self.state in {"on-hold", "held", "moving"}
        if self.state != self._told:
            self._told = self.state
            self._announce(Change(self.state))

    def _announce(self, change: Change) -> None:
        if self._changes.full():
            self._changes.get_nowait()
        self._changes.put_nowait(change)

    def _require_going(self) -> None:
        if self.end_reason is not None or self._moving:
            raise CallOver(self.end_reason or "moving")

    async def _require_device(self) -> None:
        session = self._client.session
        if not self._client.has_api_key or session is None:
            return
        devices = await self._client.people(session.username)
        if not any(each.id != session.id and not each.away for each in devices):
            raise SbeError(f"{session.username} has no other device to move the call to.")

    async def _unless_over(self, doing: Awaitable[object]) -> None:
        self._require_going()
        task, over = asyncio.ensure_future(doing), asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise CallOver(self.end_reason or "")
            task.result()
        finally:
            task.cancel()
            over.cancel()
            await asyncio.gather(task, over, return_exceptions=True)

    def _spawn(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
