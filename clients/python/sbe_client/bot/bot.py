"""A bot: a registered session that answers calls and starts them."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from sbe_client.asynchronous import AsyncClient
from sbe_client.bot.audio import RATES
from sbe_client.bot.call import BotCall
from sbe_client.errors import SbeError
from sbe_client.shapes import Conference, Event

logger = logging.getLogger(__name__)

_INVITATIONS, _UNCLAIMED = 64, 64


class Invitation:
    """A call that rings. `reason` is `call`, or `move` if the user moves a call from another device."""

    def __init__(self, bot: "Bot", event: Event, conference: Conference) -> None:
        """Take the event."""
        self.conf_id, self.conference = conference.id, conference
        self.reason = event.reason or "call"
        self._bot, self._event = bot, event

    @property
    def caller(self) -> str:
        """The username of the user who calls, or who moves the call."""
        origin = self._event.from_id
        return next((each.username for each in self.conference.participants if each.id == origin), "")

    async def answer(self) -> BotCall:
        """Answer, and return the call.

        :raises Refusal: when it does not ring any more.
        :raises CallOver: when the enabler or the caller cannot use the bot's description.
        """
        return await self._bot.take(self._event, self.conference)

    async def decline(self) -> None:
        """Decline on all devices of the user."""
        await self._bot.client.decline(self.conf_id)


class Bot:
    """Answers and starts calls for the session of a client. Use it as a context manager.

    `rate` is the sample rate of all audio, in samples per second: 8000, 16000, 24000 or 48000.
    """

    def __init__(self, client: AsyncClient, *, rate: int = 48_000) -> None:
        """Use a registered client. It stays open when the bot closes."""
        if rate not in RATES:
            raise ValueError(f"rate must be one of {RATES}")
        self.client, self.rate = client, rate
        self._events = client.events()
        self._calls: dict[str, BotCall] = {}
        self._ringing: asyncio.Queue[Invitation | Exception] = asyncio.Queue(_INVITATIONS + 1)
        # Events of a conference whose request has not been answered yet.
        self._unclaimed: deque[Event] = deque(maxlen=_UNCLAIMED)
        self._task: asyncio.Task[None] | None = None

    @property
    def calls(self) -> list[BotCall]:
        """The calls that have not ended."""
        return list(self._calls.values())

    async def __aenter__(self) -> Self:
        """Follow the events."""
        await self._events.opened()
        self._task = asyncio.create_task(self._run(), name="sbe-bot")
        return self

    async def __aexit__(self, *error: object) -> None:
        """Hang up all calls, and stop."""
        for call in self.calls:
            with contextlib.suppress(SbeError):
                await call.hang_up()
            await call.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._events.aclose()

    async def invitations(self) -> AsyncIterator[Invitation]:
        """Yield each call that rings. An invitation may have ended before it is answered.

        :raises SessionOver: when the session has ended. Register again, and make a new bot.
        """
        while True:
            ringing = await self._ringing.get()
            if isinstance(ringing, Exception):
                raise ringing
            yield ringing

    async def call(self, to: str, *, topology: str = "focus") -> BotCall:
        """Call a user; return the call when the user has answered.

        :raises CallOver: when nobody answers (`no-answer`), or the user declines (`declined`).
        """
        call = BotCall(self.client, self.rate, topology, self._forget)
        try:
            await call.place(to)
            self._follow(call)
            for event in self._unclaimed:
                if event.conf_id == call.conf_id:
                    call.take(event)
            await call.opened()
        except BaseException:
            if call.conf_id:
                with contextlib.suppress(SbeError):
                    await call.hang_up()
            await call.close()
            raise
        return call

    async def take(self, event: Event, conference: Conference) -> BotCall:
        """Answer an invitation: `Invitation.answer` does this."""
        call = BotCall(self.client, self.rate, conference.topology, self._forget)
        call.conf_id = conference.id
        self._follow(call)
        try:
            await call.answer(event)
        except BaseException:
            await call.close()
            raise
        return call

    def _follow(self, call: BotCall) -> None:
        self._calls[call.conf_id] = call
        call.follow()

    def _forget(self, call: BotCall) -> None:
        if self._calls.get(call.conf_id) is call:
            del self._calls[call.conf_id]

    async def _run(self) -> None:
        try:
            async for event in self._events:
                await self._dispatch(event)
        except SbeError as error:
            for call in self.calls:
                call.end("session-expired")
            self._ringing.put_nowait(error)

    async def _dispatch(self, event: Event) -> None:
        if event.type == "gap":
            for call in self.calls:
                await call.check()
        elif event.type == "invitation-received" and event.conference is not None:
            if self._ringing.qsize() < _INVITATIONS:
                self._ringing.put_nowait(Invitation(self, event, event.conference))
        elif call_ := self._calls.get(event.conf_id or ""):
            call_.take(event)
        else:
            self._unclaimed.append(event)
