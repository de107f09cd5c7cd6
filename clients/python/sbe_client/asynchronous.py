"""The asynchronous client."""

import asyncio
import inspect
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

import httpx

from sbe_client import operations
from sbe_client.channel import SILENCE
from sbe_client.errors import NetworkError, SbeError, SessionOver
from sbe_client.exchange import ATTEMPT_TIMEOUT, LONGEST_BODY, Done, Operation, Response, T, Wait, Wire, too_large
from sbe_client.registration import MOST_PAGES, Registration, half_of
from sbe_client.shapes import Conference, Description, Leaving, Participant, Session
from sbe_client.streaming import EventStream, cancel

logger = logging.getLogger(__name__)

AsyncRegister = Callable[[], Awaitable[Session | Mapping[str, Any]] | Session | Mapping[str, Any]]


class AsyncClient:
    """One session of the enabler. Use it as a context manager; the end of the block ends the session.

    Every method raises `Refusal` if the enabler refuses, `SessionOver` if the session has ended, `NetworkError` if no
    answer comes within 20 s, and `ProtocolError` if the answer cannot be read.
    """

    def __init__(
        self,
        enabler: str,
        *,
        api_key: str | None = None,
        register: AsyncRegister | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the enabler's URL, and one of two ways to register.

        - `api_key`: this program is the application's back end, and registers users itself.
        - `register`: a function, which may be async, that returns the session. It asks the application's back end.
        """
        self._registration = Registration(enabler, api_key)
        self._register = register
        self._tls = tls
        self._http = httpx.AsyncClient(verify=tls if tls else enabler.startswith("https:"), timeout=ATTEMPT_TIMEOUT)
        self._refreshing: asyncio.Task[None] | None = None
        self._streams: list[EventStream] = []

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the session if there is one, and close all connections."""
        try:
            if self._registration.session is not None:
                await self.unregister()
        except SbeError as failure:
            logger.info("The session was not ended: %s", failure)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. The session stays registered until it expires."""
        for stream in self._streams:
            await stream.aclose()
        await cancel(self._refreshing)
        await self._http.aclose()

    # --- The session ------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session, or None if none is registered or it is over."""
        return self._registration.session

    @property
    def has_api_key(self) -> bool:
        """Whether this client may list the sessions of all users."""
        return self._registration.api_key is not None

    async def register(
        self, username: str = "", *, device: str | None = None, vtn: str | None = None, icmn: str | None = None
    ) -> Session:
        """Register a session, and refresh it in the background when half of its lifetime is over.

        The arguments are for the API key. The function `register` sets the identity itself.
        """
        if self._register is None:
            session = await self._run(operations.register(username, device, vtn, icmn))
            first = half_of(session)
        else:
            answer = self._register()
            given = await answer if inspect.isawaitable(answer) else answer
            # The first refresh comes at once, because only the enabler's own answer states the true lifetime.
            session, first = self._registration.adopt(given), 0.0
        await cancel(self._refreshing)
        self._registration.adopt(session)
        self._refreshing = asyncio.create_task(self._refresh(first), name="sbe-refresh")
        return session

    async def refresh(self) -> Session:
        """Refresh the session now."""
        return self._registration.refreshed(await self._run(operations.refresh(self._registration.registered)))

    async def _refresh(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                seconds = half_of(await self.refresh())
            except SessionOver:
                self._registration.session = None
                return
            except SbeError as error:
                logger.warning("The session was not refreshed: %s", error)
                seconds = 5.0

    async def unregister(self) -> None:
        """End the session. It leaves its conferences."""
        await cancel(self._refreshing)
        session = self._registration.registered
        try:
            await self._run(operations.unregister(session))
        finally:
            self._registration.session = None

    async def people(self, username: str | None = None) -> list[Session]:
        """List the live sessions of all users, or of one user. Needs the API key."""
        found: list[Session] = []
        after: str | None = None
        for _ in range(MOST_PAGES):
            page, after = await self._run(operations.sessions(username, after))
            found += page
            if after is None:
                break
        return found

    def events(self, after: int = 0) -> EventStream:
        """Follow the events of the session after event number `after`; 0 means from the beginning."""
        session = self._registration.registered
        stream = EventStream(
            self._registration, lambda cursor, wait: self._poll(session, cursor, wait), after, self._tls
        )
        self._streams.append(stream)
        return stream

    # --- Calls ------------------------------------------------------------------------------------------

    async def conferences(self, state: str | None = None, *, missed: bool = False) -> list[Conference]:
        """List the conferences in which the user is present, and those that ring.

        With the state `session-terminated`, list the ended ones. With `missed`, list the last missed calls.
        """
        found: list[Conference] = []
        after: str | None = None
        for _ in range(MOST_PAGES):
            page, after = await self._run(operations.conferences(state, missed, after))
            found += page
            if after is None:
                break
        return found

    async def conference(self, conf_id: str) -> Conference:
        """Read a conference."""
        return await self._run(operations.conference(conf_id))

    async def call(
        self,
        to: str | Sequence[str],
        offer: Description,
        *,
        topology: str | None = None,
        name: str | None = None,
        access: str | None = None,
    ) -> Conference:
        """Call one or several users: usernames, or numbers as `tel:+15550100`. `mod_id` is the offer's ID."""
        addresses = [to] if isinstance(to, str) else to
        return await self._run(operations.call(addresses, offer, topology, name, access))

    async def answer(self, conf_id: str, description: Description) -> str | None:
        """Answer an invitation, or join an open conference.

        The description is an answer for a call in `peer`, otherwise an own offer. Returns the `mod_id` of the offer.
        """
        return await self._run(operations.act(conf_id, "conference-answer", description))

    async def decline(self, conf_id: str) -> Leaving:
        """Decline an invitation on all devices of the user."""
        return await self._run(operations.leave(conf_id))

    async def offer(self, conf_id: str, action: str, offer: Description) -> str:
        """Make an offer with this `x-conference-action`; return the `mod_id`. The methods below do this."""
        return await self._run(operations.act(conf_id, action, offer)) or ""

    async def modify(self, conf_id: str, offer: Description) -> str:
        """Offer other media; return the `mod_id`. An event tells how the other side settles it."""
        return await self.offer(conf_id, "initiate-conference-mod", offer)

    async def hold(self, conf_id: str, offer: Description) -> str:
        """Offer a hold (all directions `recvonly`, `sendonly` or `inactive`); return the `mod_id`."""
        return await self.offer(conf_id, "initiate-conference-hold", offer)

    async def resume(self, conf_id: str, offer: Description) -> str:
        """Offer a resume (the directions from before the hold); return the `mod_id`."""
        return await self.offer(conf_id, "initiate-conference-resume", offer)

    async def accept(self, conf_id: str, mod_id: str, answer: Description) -> None:
        """Accept the other side's offer."""
        await self._run(operations.settle(conf_id, "accept-conference-mod", mod_id, answer))

    async def reject(self, conf_id: str, mod_id: str) -> None:
        """Reject the other side's offer."""
        await self._run(operations.settle(conf_id, "rejectCancel-conference-mod", mod_id))

    async def cancel(self, conf_id: str, mod_id: str) -> None:
        """Cancel the own offer."""
        await self._run(operations.settle(conf_id, "rejectCancel-conference-mod", mod_id))

    async def move(self, conf_id: str, offer: Description) -> Leaving:
        """Offer a hold that arms a move, and move: the user's other devices ring.

        Without another device the participation ends (`move_refused`).
        """
        await self.offer(conf_id, "initiate-call-hold", offer)
        return await self._run(operations.leave(conf_id))

    async def hang_up(self, conf_id: str) -> Leaving:
        """End the own part, or as the host the conference."""
        return await self._run(operations.leave(conf_id))

    async def invite(self, conf_id: str, to: str) -> Participant:
        """Invite another user (host)."""
        return await self._run(operations.invite(conf_id, to))

    async def remove(self, conf_id: str, participant: str) -> None:
        """Remove a participant, by ID (host)."""
        await self._run(operations.remove(conf_id, participant))

    async def mute(
        self, conf_id: str, participant: str, *, audio: bool | None = None, video: bool | None = None
    ) -> None:
        """Mute a participant (host), or mute or unmute the own one. Only in `focus`."""
        await self._run(operations.mute(conf_id, participant, audio, video))

    # --- Requests ---------------------------------------------------------------------------------------

    async def _run(self, operation: Operation[T]) -> T:
        exchange = self._registration.exchange(operation)
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT):
                    response = await self._send(exchange.request)
            except (httpx.HTTPError, TimeoutError) as error:
                step: Done[T] | Wait = exchange.lost(error)
            else:
                step = exchange.answered(response)
            if isinstance(step, Done):
                return step.value
            await asyncio.sleep(step.seconds)

    async def _send(self, wire: Wire, timeout: float = ATTEMPT_TIMEOUT) -> Response:
        async with self._http.stream(
            wire.method, wire.url, headers=dict(wire.headers), content=wire.content, timeout=timeout
        ) as answer:
            content = bytearray()
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > LONGEST_BODY:
                    too_large()
            return Response(answer.status_code, dict(answer.headers), bytes(content))

    async def _poll(self, session: Session, after: int, wait: int) -> Response:
        url = f"{session.events_url}?after={after}&wait={wait}"
        headers = {"accept": "application/json", "authorization": f"Bearer {session.token}"}
        try:
            async with asyncio.timeout(SILENCE):
                return await self._send(Wire("GET", url, headers, None), SILENCE)
        except httpx.HTTPError as error:
            raise NetworkError(repr(error)) from error
