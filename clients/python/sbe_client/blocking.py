"""The synchronous client. It follows events by long poll."""

import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import httpx

from sbe_client import operations
from sbe_client.channel import SILENCE, Cursor, Missing, Reconnection, Transport, events_of
from sbe_client.errors import ProtocolError, SbeError, SessionOver
from sbe_client.exchange import ATTEMPT_TIMEOUT, LONGEST_BODY, Done, Operation, Response, T, Wait, Wire, too_large
from sbe_client.registration import MOST_PAGES, Registration, half_of
from sbe_client.shapes import Conference, Description, Event, Leaving, Participant, Session

logger = logging.getLogger(__name__)

Register = Callable[[], Session | Mapping[str, Any]]


class Client:
    """One session of the enabler. Use it as a context manager; the end of the block ends the session.

    Every method raises `Refusal` if the enabler refuses, `SessionOver` if the session has ended, `NetworkError` if no
    answer comes within 20 s, and `ProtocolError` if the answer cannot be read. Threads may share a client.
    """

    def __init__(
        self,
        enabler: str,
        *,
        api_key: str | None = None,
        register: Register | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the enabler's URL, and one of two ways to register.

        - `api_key`: this program is the application's back end, and registers users itself.
        - `register`: a function that returns the session. It asks the application's back end.
        """
        self._registration = Registration(enabler, api_key)
        self._register = register
        self._http = httpx.Client(verify=tls if tls else enabler.startswith("https:"), timeout=ATTEMPT_TIMEOUT)
        self._stop_refreshing = threading.Event()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the session if there is one, and close all connections."""
        try:
            if self._registration.session is not None:
                self.unregister()
        except SbeError as failure:
            logger.info("The session was not ended: %s", failure)
        finally:
            self.close()

    def close(self) -> None:
        """Close all connections. The session stays registered until it expires."""
        self._stop_refreshing.set()
        self._http.close()

    # --- The session ------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session, or None if none is registered or it is over."""
        return self._registration.session

    def register(
        self, username: str = "", *, device: str | None = None, vtn: str | None = None, icmn: str | None = None
    ) -> Session:
        """Register a session, and refresh it in the background when half of its lifetime is over.

        The arguments are for the API key. The function `register` sets the identity itself.
        """
        if self._register is None:
            session = self._run(operations.register(username, device, vtn, icmn))
            first = half_of(session)
        else:
            # The first refresh comes at once, because only the enabler's own answer states the true lifetime.
            session, first = self._registration.adopt(self._register()), 0.0
        self._registration.adopt(session)
        self._stop_refreshing.set()
        self._stop_refreshing = threading.Event()
        refreshing = (first, self._stop_refreshing)
        threading.Thread(target=self._refresh, args=refreshing, name="sbe-refresh", daemon=True).start()
        return session

    def refresh(self) -> Session:
        """Refresh the session now."""
        return self._registration.refreshed(self._run(operations.refresh(self._registration.registered)))

    def _refresh(self, seconds: float, stop: threading.Event) -> None:
        while not stop.wait(seconds):
            try:
                seconds = half_of(self.refresh())
            except SessionOver:
                if not stop.is_set():
                    self._registration.session = None
                return
            except (SbeError, RuntimeError) as error:
                # A RuntimeError means that the client was closed meanwhile.
                if stop.is_set():
                    return
                logger.warning("The session was not refreshed: %s", error)
                seconds = 5.0

    def unregister(self) -> None:
        """End the session. It leaves its conferences."""
        self._stop_refreshing.set()
        session = self._registration.registered
        try:
            self._run(operations.unregister(session))
        finally:
            self._registration.session = None

    def people(self, username: str | None = None) -> list[Session]:
        """List the live sessions of all users, or of one user. Needs the API key."""
        found: list[Session] = []
        after: str | None = None
        for _ in range(MOST_PAGES):
            page, after = self._run(operations.sessions(username, after))
            found += page
            if after is None:
                break
        return found

    def events(self, after: int = 0, *, idle: float | None = None) -> Iterator[Event]:
        """Yield the events after event number `after`, each once and in order; 0 means from the beginning.

        With `idle`, the iteration ends after about this many seconds without an event; 0 means at the end of the log.
        Otherwise it ends only with an error: `SessionOver`, `ChannelReplaced`, or `ProtocolError` if the same
        unreadable answer comes again and again. The event `gap` means that events were lost: read the conferences
        again.
        """
        session = self._registration.registered
        cursor, again = Cursor(after), Reconnection((Transport.POLL,))
        last, wait = time.monotonic(), 0
        while True:
            again.begin()
            batch, pause = self._batch(session, cursor, again, wait)
            for event in batch:
                yield event
                last = time.monotonic()
            left = None if idle is None else last + idle - time.monotonic()
            if left is not None and left <= 0 and not batch:
                return
            time.sleep(pause)
            wait = again.wait if left is None else min(again.wait, math.ceil(max(0.0, left)))

    def _batch(self, session: Session, cursor: Cursor, again: Reconnection, wait: int) -> tuple[list[Event], float]:
        """Poll once; return the events, and the seconds to wait before the next poll."""
        batch: list[Event] = []
        try:
            events = events_of(self._poll(session, cursor.after, wait))
            for data in events or []:
                batch += cursor.take(data)
            if events is not None:
                again.polls()
                return batch, 0.0
        except ProtocolError as error:
            cursor.fault(error)
        except (httpx.HTTPError, Missing) as error:
            logger.info("The event channel is interrupted after event %d: %r", cursor.after, error)
        return batch, again.pause()

    # --- Calls ------------------------------------------------------------------------------------------

    def conferences(self, state: str | None = None, *, missed: bool = False) -> list[Conference]:
        """List the conferences in which the user is present, and those that ring.

        With the state `session-terminated`, list the ended ones. With `missed`, list the last missed calls.
        """
        found: list[Conference] = []
        after: str | None = None
        for _ in range(MOST_PAGES):
            page, after = self._run(operations.conferences(state, missed, after))
            found += page
            if after is None:
                break
        return found

    def conference(self, conf_id: str) -> Conference:
        """Read a conference."""
        return self._run(operations.conference(conf_id))

    def call(
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
        return self._run(operations.call(addresses, offer, topology, name, access))

    def answer(self, conf_id: str, description: Description) -> str | None:
        """Answer an invitation, or join an open conference.

        The description is an answer for a call in `peer`, otherwise an own offer. Returns the `mod_id` of the offer.
        """
        return self._run(operations.act(conf_id, "conference-answer", description))

    def decline(self, conf_id: str) -> Leaving:
        """Decline an invitation on all devices of the user."""
        return self._run(operations.leave(conf_id))

    def offer(self, conf_id: str, action: str, offer: Description) -> str:
        """Make an offer with this `x-conference-action`; return the `mod_id`. The methods below do this."""
        return self._run(operations.act(conf_id, action, offer)) or ""

    def modify(self, conf_id: str, offer: Description) -> str:
        """Offer other media; return the `mod_id`. An event tells how the other side settles it."""
        return self.offer(conf_id, "initiate-conference-mod", offer)

    def hold(self, conf_id: str, offer: Description) -> str:
        """Offer a hold (all directions `recvonly`, `sendonly` or `inactive`); return the `mod_id`."""
        return self.offer(conf_id, "initiate-conference-hold", offer)

    def resume(self, conf_id: str, offer: Description) -> str:
        """Offer a resume (the directions from before the hold); return the `mod_id`."""
        return self.offer(conf_id, "initiate-conference-resume", offer)

    def accept(self, conf_id: str, mod_id: str, answer: Description) -> None:
        """Accept the other side's offer."""
        self._run(operations.settle(conf_id, "accept-conference-mod", mod_id, answer))

    def reject(self, conf_id: str, mod_id: str) -> None:
        """Reject the other side's offer."""
        self._run(operations.settle(conf_id, "rejectCancel-conference-mod", mod_id))

    def cancel(self, conf_id: str, mod_id: str) -> None:
        """Cancel the own offer."""
        self._run(operations.settle(conf_id, "rejectCancel-conference-mod", mod_id))

    def move(self, conf_id: str, offer: Description) -> Leaving:
        """Offer a hold that arms a move, and move: the user's other devices ring.

        Without another device the participation ends (`move_refused`).
        """
        self.offer(conf_id, "initiate-call-hold", offer)
        return self._run(operations.leave(conf_id))

    def hang_up(self, conf_id: str) -> Leaving:
        """End the own part, or as the host the conference."""
        return self._run(operations.leave(conf_id))

    def invite(self, conf_id: str, to: str) -> Participant:
        """Invite another user (host)."""
        return self._run(operations.invite(conf_id, to))

    def remove(self, conf_id: str, participant: str) -> None:
        """Remove a participant, by ID (host)."""
        self._run(operations.remove(conf_id, participant))

    def mute(self, conf_id: str, participant: str, *, audio: bool | None = None, video: bool | None = None) -> None:
        """Mute a participant (host), or mute or unmute the own one. Only in `focus`."""
        self._run(operations.mute(conf_id, participant, audio, video))

    # --- Requests ---------------------------------------------------------------------------------------

    def _run(self, operation: Operation[T]) -> T:
        exchange = self._registration.exchange(operation)
        while True:
            try:
                response = self._send(exchange.request, ATTEMPT_TIMEOUT)
            except httpx.HTTPError as error:
                step: Done[T] | Wait = exchange.lost(error)
            else:
                step = exchange.answered(response)
            if isinstance(step, Done):
                return step.value
            time.sleep(step.seconds)

    def _send(self, wire: Wire, timeout: float) -> Response:
        give_up_at = time.monotonic() + timeout
        with self._http.stream(
            wire.method, wire.url, headers=dict(wire.headers), content=wire.content, timeout=timeout
        ) as answer:
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > LONGEST_BODY:
                    too_large()
                if time.monotonic() > give_up_at:
                    raise httpx.ReadTimeout("the answer takes too long")
            return Response(answer.status_code, dict(answer.headers), bytes(content))

    def _poll(self, session: Session, after: int, wait: int) -> Response:
        url = f"{session.events_url}?after={after}&wait={wait}"
        headers = {"accept": "application/json", "authorization": f"Bearer {session.token}"}
        return self._send(Wire("GET", url, headers, None), SILENCE)
