"""SbeClient when the network, the server or the other side causes problems."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.support.depth import examples
from tests.support.journeys.people import (
    Person,
    Visit,
    agrees_with_a_fresh_get,
    call,
    in_a_call,
    move,
    nothing_lost_or_repeated,
)
from tests.support.journeys.wire import Wire, come_back_soon
from tests.support.services import ROOT, Backends, Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

CONFERENCES = re.compile(r"/mediaConferences(/[^/]+)?$")


# --- The event channel --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lively(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with frequent heartbeats, because the client leaves an event stream only at a heartbeat."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("lively"), {"SBE_HEARTBEAT_SECONDS": "2"}) as running:
        yield running


async def test_events_fall_back_to_sse_and_long_poll_and_come_back(visit: Visit, lively: Server) -> None:
    wire = Wire()
    wire.blocked = True
    streams_pass = True

    async def streams(route: Route) -> None:
        wants_a_stream = route.request.headers.get("accept") == "text/event-stream"
        await (route.abort() if wants_a_stream and not streams_pass else route.continue_())

    async def before(page: Page) -> None:
        await come_back_soon(page)
        await page.route(re.compile(r"/sessions/[^/]+/events"), streams)
        await wire.attach(page)

    alice, bob = await in_a_call(visit, "fall", kind="audio", at=lively, bob={"before": before, "live": "sse"})
    # The user need not know the transport.
    await expect(bob.part("channel-state")).to_contain_text("Online")
    # The client tries the WebSocket again after 5 s. From now on, the WebSocket works.
    wire.mend()
    await bob.is_live("websocket")
    await alice.press("btn-hold")
    await bob.is_in("held")

    streams_pass = False
    await wire.cut()
    await bob.is_live("poll")
    await expect(alice.part("mod-pending")).to_be_hidden()
    await alice.press("btn-hold")
    await bob.is_in("open")
    wire.mend()
    await bob.is_live("websocket")
    await nothing_lost_or_repeated(alice, bob)


_OPEN_SOCKETS = """() => {
  const {session} = window.sbe.client;
  const open = () => new WebSocket(session.events.webSocket, ["sbe.v1", `bearer.${session.token}`]);
  window.others = Array.from({length: 4}, open);
}"""


async def test_a_page_says_that_newer_connections_replaced_its_own_and_waits_for_the_user(visit: Visit) -> None:
    alice = await visit("alice-replaced")
    await alice.is_live()
    await alice.page.evaluate(_OPEN_SOCKETS)
    await alice.is_live("replaced")
    await alice.shows("banner", "Too many other connections")
    # The page does not try again even if the browser reports that the network is back.
    await alice.page.evaluate("dispatchEvent(new Event('online'))")
    await alice.page.evaluate("window.sbe.client.people()")
    assert await alice.page.evaluate("others.every(({readyState}) => readyState === WebSocket.OPEN)")
    await alice.press("banner-resume")
    await alice.is_live()
    await expect(alice.part("banner")).to_be_hidden()
    await alice.until("() => others.filter(({readyState}) => readyState === WebSocket.CLOSED).length === 1")


def _misbehave() -> Callable[[str], list[str]]:
    """Return a handler that drops the second event, repeats the fourth, and swaps the sixth and the seventh, each once.

    In this test, the third event comes right after the second, and the seventh right after the sixth. Only a later
    event shows the client that one is missing. In practice, TCP loses nothing on a connection that lasts.
    """
    done: set[int] = set()
    kept: list[str] = []

    def change(frame: str) -> list[str]:
        number = json.loads(frame).get("seq")
        if number is None or number in done:
            return [frame]
        done.add(number)
        match number:
            case 2:
                return []
            case 4:
                return [frame, frame]
            case 6:
                kept.append(frame)
                return []
            case 7:
                return [frame, *kept]
        return [frame]

    return change


async def test_dropped_repeated_and_swapped_events_are_handled_once_in_order(visit: Visit) -> None:
    wire = Wire()
    wire.change = _misbehave()
    alice, bob = await in_a_call(visit, "mess", kind="audio", alice={"before": wire.attach})
    for _ in range(2):
        await alice.press("btn-hold")
        await bob.is_in("held")
        await expect(alice.part("mod-pending")).to_be_hidden()
        await alice.press("btn-hold")
        await bob.is_in("open")
        await expect(alice.part("mod-pending")).to_be_hidden()
    await alice.press("btn-camera")
    await bob.sees_video()
    assert max(event["seq"] for event in await alice.events()) >= 7
    assert wire.opened >= 3, "nothing was lost, so nothing was proved"
    await nothing_lost_or_repeated(alice, bob)


# --- Glare --------------------------------------------------------------------------------------------------


class Collision:
    """Holds back the offers of two pages until both have been sent, so that they collide at the enabler."""

    def __init__(self) -> None:
        """Hold nothing back yet."""
        self._barrier = asyncio.Barrier(2)
        self._awaited: set[str] = set()
        self.statuses: Counter[int] = Counter()

    async def attach(self, *people: Person) -> None:
        """Intercept the offers of these pages from now on."""
        for person in people:
            await person.page.route(CONFERENCES, self._holding(person.username))
            person.page.on("response", lambda response: self.statuses.update([response.status]))

    def _holding(self, username: str) -> Callable[[Route], Awaitable[None]]:
        async def meet(route: Route) -> None:
            action = route.request.headers.get("x-conference-action", "")
            if username in self._awaited and action.startswith("initiate-"):
                self._awaited.discard(username)
                await asyncio.wait_for(self._barrier.wait(), 20)
            await route.continue_()

        return meet

    async def let(self, *doings: tuple[Person, str]) -> None:
        """Make one change on each page at the same time, and require that both changes are made."""
        self._awaited = {person.username for person, _ in doings}
        before = self.statuses[409]
        outcomes = await asyncio.gather(
            *(person.page.evaluate(f"window.sbe.client.currentCall.{doing}()") for person, doing in doings)
        )
        assert outcomes == ["accepted", "accepted"]
        assert self.statuses[409] > before, f"there was no glare: {doings}"


async def test_both_changes_are_made_after_glare(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "glare")
    collision = Collision()
    await collision.attach(alice, bob)
    for _ in range(examples(1, deep=3)):
        await collision.let((alice, "modify"), (bob, "modify"))
        await collision.let((alice, "hold"), (bob, "hold"))
        await alice.is_in("on-hold")
        await bob.is_in("on-hold")
        await agrees_with_a_fresh_get(alice)
        await collision.let((alice, "resume"), (bob, "resume"))
        await alice.is_in("open")
        await bob.is_in("open")
        await collision.let((alice, "hold"), (bob, "modify"))
        await alice.is_in("on-hold")
        await bob.is_in("held")
        assert await alice.page.evaluate("window.sbe.client.currentCall.resume()") == "accepted"
        await bob.is_in("open")
        await agrees_with_a_fresh_get(alice)
        await agrees_with_a_fresh_get(bob)
    await alice.sees_video()
    await bob.sees_video()


# --- A path that breaks -------------------------------------------------------------------------------------

# Simulates a broken path of the page's connection.
_BREAK = """() => {
  const {pc} = window.sbe;
  Object.defineProperty(pc, "connectionState", {configurable: true, get: () => "failed"});
  pc.dispatchEvent(new Event("connectionstatechange"));
}"""


async def test_a_broken_path_is_repaired_unless_the_other_side_is_moving(visit: Visit) -> None:
    bob, alice = await visit("bob-path"), await visit("alice-path")
    phone = await visit("alice-path", "phone")
    done: list[str] = []
    bob.page.on("request", lambda request: done.append(request.headers.get("x-conference-action", "")))
    # Bob is the host, which repairs a broken path at once.
    await call(bob, alice)
    await move(alice)
    await bob.shows("hold-overlay", "alice-path is moving to another device")
    done.clear()
    await bob.page.evaluate(_BREAK)
    await expect(bob.page.locator("#placeholder")).not_to_contain_text("interrupted")
    await phone.press("ring-accept")
    await bob.sees_video()
    assert "initiate-conference-mod" not in done
    await expect(bob.part("errors")).to_be_empty()

    fragment = "() => /a=ice-ufrag:(\\S+)/.exec(window.sbe.pc.localDescription.sdp)[1]"
    before = await bob.page.evaluate(fragment)
    await bob.page.evaluate(_BREAK)
    await bob.until(f"(before) => ({fragment})() !== before", before)
    assert done.count("initiate-conference-mod") == 1
    await bob.sees_video()


# --- Rejected changes ----------------------------------------------------------------------------------------


# Only `deep`: flow 6 and the test of being asked first (page/test_call.py) also reject a change.
@pytest.mark.deep
async def test_a_rejected_change_leaves_no_trace_and_can_be_offered_again(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "again", kind="audio")
    await bob.asks_first()
    for button in ("btn-camera", "btn-screen", "btn-camera"):
        await alice.press(button)
        await bob.press("mod-reject")
        await expect(alice.part("local-video")).to_be_hidden()
    await bob.asks_first(False)
    assert await alice.page.evaluate("window.sbe.client.currentCall.hold()") == "accepted"
    assert await alice.page.evaluate("window.sbe.client.currentCall.resume()") == "accepted"
    await expect(bob.page.locator("#placeholder")).to_contain_text("Audio call")
    assert await bob.page.evaluate("window.sbe.client.currentCall.addVideo()") == "accepted"
    await alice.sees_video()
    assert await alice.page.evaluate("window.sbe.client.currentCall.addVideo()") == "accepted"
    await bob.sees_video()
    assert await alice.page.evaluate("window.sbe.client.currentCall.shareScreen()") == "accepted"
    await expect(bob.part("remote-inset")).to_be_visible()
    await bob.sees_video()
    await agrees_with_a_fresh_get(alice)
    await agrees_with_a_fresh_get(bob)


# --- Hanging up in the middle -------------------------------------------------------------------------------


class Gate:
    """Holds back a page's requests with one action or method, until `opened` is set."""

    def __init__(self, what: str) -> None:
        """Hold nothing back yet."""
        self._what = what
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def attach(self, page: Page) -> None:
        """Intercept the page's requests from now on."""
        await page.route(CONFERENCES, self._pass)

    async def _pass(self, route: Route) -> None:
        request = route.request
        if request.headers.get("x-conference-action", request.method) == self._what:
            self.reached.set()
            await asyncio.wait_for(self.opened.wait(), 20)
        await route.continue_()


@pytest.mark.parametrize("topology", ["peer", pytest.param("focus", marks=pytest.mark.deep)])
async def test_the_page_works_after_hanging_up_while_a_change_is_accepted(visit: Visit, topology: str) -> None:
    alice, bob = [
        await visit(f"{who}-midst-{topology}", "laptop", direct=topology == "peer") for who in ("alice", "bob")
    ]
    await call(alice, bob, kind="audio")
    await bob.until("() => window.sbe.client.currentCall.pending === null")
    gate = Gate("accept-conference-mod")
    await gate.attach(bob.page)
    await alice.press("btn-camera")
    await asyncio.wait_for(gate.reached.wait(), 20)
    await bob.press("btn-hangup")
    await bob.is_in("ended")
    await alice.sees_the_end(bob.username)
    gate.opened.set()
    # The next call works, and the page has logged no error.
    await bob.press("ended-done")
    await alice.press("ended-done")
    await call(bob, alice, kind="audio")


async def test_cancelling_before_the_invitation_has_arrived_withdraws_it(visit: Visit) -> None:
    alice, bob = [await visit(f"{who}-sudden", "laptop", direct=True) for who in ("alice", "bob")]
    gate = Gate("POST")
    await gate.attach(alice.page)
    placed = asyncio.ensure_future(
        alice.page.evaluate("window.sbe.client.call('bob-sudden', {video: false}).catch((error) => String(error))")
    )
    await asyncio.wait_for(gate.reached.wait(), 20)
    await alice.page.evaluate("window.sbe.client.currentCall.hangUp()")
    gate.opened.set()
    await placed
    async with asyncio.timeout(20):
        while not any(event["type"] == "invitation-cancelled" for event in await bob.events()):
            await asyncio.sleep(0.05)
    await bob.until("() => window.sbe.client.invitations.length === 0")
    await alice.press("ended-done")
    await call(alice, bob, kind="audio")


# --- The session --------------------------------------------------------------------------------------------


async def test_session_is_refreshed_before_it_expires_and_its_end_is_shown(
    visit: Visit, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> None:
    brief = Server(backends.sqlite(), tmp_path_factory.mktemp("brief"), {"SBE_SESSION_SECONDS": "4"})
    with brief:
        alice, bob = await in_a_call(visit, "brief", kind="audio", at=brief)
        expires = "() => Date.parse(window.sbe.client.session.expiresAt)"
        at_first = await alice.page.evaluate(expires)
        # Two refreshes have extended the session beyond its first expiry.
        await alice.until(f"(first) => ({expires})() > first + 4000", at_first)
        await alice.is_in("open")
        session = await alice.page.evaluate("window.sbe.client.session")
        answer = httpx.delete(
            f"{brief.base_url}/sessions/{session['id']}", headers={"Authorization": f"Bearer {session['token']}"}
        )
        assert answer.status_code == 204
        await alice.sees_the_end("This registration has ended, and the call with it.")
        await bob.sees_the_end("alice")
        # The page registers the same user again, without asking.
        await alice.press("ended-done")
        await expect(alice.part("people-list")).to_be_visible()
        assert await alice.page.evaluate("window.sbe.client.session.id") != session["id"]


# --- Answers that get lost ----------------------------------------------------------------------------------


class Lossy:
    """Loses the first response to each kind of request, after the server has carried out the request."""

    def __init__(self) -> None:
        """Nothing is lost yet."""
        self.lost: list[str] = []
        self.sent: list[str] = []
        self._arrived = asyncio.Event()

    async def attach(self, page: Page) -> None:
        """Intercept the page's requests from now on."""
        await page.route(CONFERENCES, self._pass)

    async def _pass(self, route: Route) -> None:
        request = route.request
        what = request.headers.get("x-conference-action", request.method)
        if request.method in {"POST", "PUT"}:
            self.sent.append(f"{what} {request.headers['idempotency-key']}")
            self._arrived.set()
        if request.method not in {"POST", "PUT", "DELETE"} or what in self.lost:
            return await route.continue_()
        self.lost.append(what)
        await route.fetch()
        return await route.abort()

    @property
    def repeated(self) -> list[str]:
        """The requests that were sent twice, unchanged."""
        return [request.split()[0] for request, times in Counter(self.sent).items() if times == 2]

    async def wait_for_repetitions(self) -> None:
        """Wait until the page, after its pause, has repeated each request whose response was lost."""
        async with asyncio.timeout(10):
            while len(self.repeated) < len(self.lost):
                self._arrived.clear()
                await self._arrived.wait()


async def test_nothing_is_done_twice_if_responses_are_lost(visit: Visit) -> None:
    alices, bobs = Lossy(), Lossy()
    alice, bob = await in_a_call(visit, "lost", alice={"before": alices.attach}, bob={"before": bobs.attach})
    await alice.sees_video()
    await alice.press("btn-hold")
    await alice.is_in("on-hold")
    await bob.is_in("held")
    await alice.press("btn-hold")
    await bob.is_in("open")
    await bob.sees_video()
    await alice.asks_first()
    await expect(bob.part("mod-pending")).to_be_hidden()
    await bob.press("btn-hold")
    await alice.press("mod-reject")
    await bob.is_told("alice-lost rejected the hold.")
    # This check needs a conference that has not ended.
    await agrees_with_a_fresh_get(alice)
    await nothing_lost_or_repeated(bob)
    told_to_alice = Counter(event["type"] for event in await alice.events())
    told_to_bob = Counter(event["type"] for event in await bob.events())
    assert told_to_bob["invitation-received"] == told_to_alice["session-open"] == 1
    assert told_to_bob["mod-received"] == told_to_alice["mod-accepted"] == 2
    assert told_to_alice["mod-received"] == told_to_bob["mod-rejected"] == 1
    assert alices.lost == [
        "POST",
        "initiate-conference-hold",
        "initiate-conference-resume",
        "rejectCancel-conference-mod",
    ]
    assert bobs.lost == ["conference-answer", "accept-conference-mod", "initiate-conference-hold"]
    for lossy in (alices, bobs):
        await lossy.wait_for_repetitions()
        assert sorted(lossy.repeated) == sorted(lossy.lost)
    await alice.press("btn-hangup")
    await bob.sees_the_end("alice-lost hung up.")
    await alice.is_in("ended")
    assert alices.lost[-1] == "DELETE"


# --- Use by other pages -------------------------------------------------------------------------------------


async def test_the_example_of_the_documentation_runs_as_written(visit: Visit) -> None:
    text = (ROOT / "docs/sbe-client.md").read_text()
    example, _element = re.findall(r"^```html\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    async def before(page: Page) -> None:
        await page.route("**/example", lambda route: route.fulfill(body=example, content_type="text/html"))
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))

    bob = await visit("bob")
    alice = await visit("alice", before=before, address="/example", live=None)
    page = alice.page
    await expect(bob.part("call-video-alice")).to_be_visible(timeout=10_000)

    async def shows_bob() -> None:
        await alice.until("() => document.getElementById('remote').videoWidth > 0")

    await page.locator("#call").click()
    await bob.press("ring-accept")
    await bob.sees_video()
    await shows_bob()
    await page.locator("#hold").click()
    await bob.is_in("held")
    await bob.shows("hold-overlay", "alice put you on hold")
    await page.locator("#hold").click()
    await bob.is_in("open")
    await bob.sees_video()
    await page.locator("#end").click()
    await bob.sees_the_end("alice hung up.")
    await bob.press("ended-again")
    await bob.is_in("open")
    await bob.sees_video()


# tests/events/test_http.py and tests/sbe_enabler/test_serving.py check the same headers without a browser.
@pytest.mark.deep
async def test_the_client_works_with_an_enabler_on_another_origin(
    visit: Visit, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> None:
    enabler = Server(backends.sqlite(), tmp_path_factory.mktemp("enabler"))
    variables = {"SBE_ENABLER_URL": enabler.base_url, "SBE_API_KEY": enabler.api_key}
    front = Server(backends.sqlite(), tmp_path_factory.mktemp("front"), variables)
    enabler.variables = {"SBE_DEV_SERVER": "0", "SBE_ALLOWED_ORIGINS": front.base_url}
    with enabler, front:
        assert httpx.get(enabler.base_url).status_code == 404
        alice, bob = await in_a_call(visit, "elsewhere", at=front, also=[enabler.base_url])
        await bob.sees_video()
        await alice.press("btn-hold")
        await bob.is_in("held")
        await alice.press("btn-hold")
        await bob.is_in("open")
        await bob.sees_video()
        await agrees_with_a_fresh_get(alice)
        assert (await alice.page.evaluate("window.sbe.client.session.events.webSocket")).startswith(
            f"ws://127.0.0.1:{enabler.port}/"
        )
        await bob.press("btn-hangup")
        await alice.sees_the_end("bob-elsewhere hung up.")
