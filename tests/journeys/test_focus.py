"""Conferences through the focus in real browsers, as their users see them."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.support.journeys.focus_people import (
    agree,
    all_see_each_other,
    come,
    decoded,
    four,
    goes_on,
    is_settled,
    sees,
    sees_still,
    three,
    tile,
)
from tests.support.journeys.people import PATIENCE_SECONDS, Person, Visit, call, move

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# The tile at the end of the last row.
_LAST_PLACE = """() => {
  const place = (tile) => { const {x, y} = tile.getBoundingClientRect(); return 10_000 * Math.round(y) + x; };
  const tiles = [...document.querySelectorAll("#tiles > li")].sort((one, other) => place(one) - place(other));
  return tiles.at(-1).dataset.testid;
}"""


# A microphone with a steady tone. The beeps of Chromium's fake microphone are too short to count as speech.
_HUMMING = """(() => {
  const {mediaDevices} = navigator;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    const stream = await open(constraints);
    const audio = new AudioContext(), tone = audio.createOscillator(), out = audio.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    for (const track of stream.getAudioTracks()) {
      stream.removeTrack(track);
      stream.addTrack(out.stream.getAudioTracks()[0]);
    }
    return stream;
  };
})()"""


def _offers_to(person: Person) -> int:
    """Return how many offers of the focus a user has received."""
    return sum(event["type"] == "mod-received" for event in person.wire)


async def _is_offered(person: Person, times: int) -> None:
    """Wait until a user has received this many offers of the focus."""
    async with asyncio.timeout(20):
        while _offers_to(person) < times:
            await asyncio.sleep(0.05)


# Wait until packets of video come (true), or until none has come for half a second (false).
_VIDEO_COMES = """async (comes) => {
  const count = async () => [...(await window.sbe.pc.getStats()).values()]
    .filter(({type, kind}) => type === "inbound-rtp" && kind === "video")
    .reduce((sum, {packetsReceived}) => sum + packetsReceived, 0);
  for (let before = await count(), now; ; before = now) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    now = await count();
    if ((now > before) === comes) return;
  }
}"""


async def test_a_call_of_two_goes_through_the_focus(visit: Visit) -> None:
    async def hums(page: Page) -> None:
        await page.add_init_script(_HUMMING)

    alice, bob = await come(visit, "alice-one"), await come(visit, "bob-one", before=hums)
    await call(alice, bob)
    await all_see_each_other(alice, bob)
    await expect(tile(alice, bob)).to_have_attribute("data-speaking", "true")
    assert (await alice.conference())["topology"] == "focus"
    # Each codec is listed once per section. With all codecs of Chromium, 24 sections would reach the size limit of an
    # SDP.
    offered = await alice.page.evaluate("window.sbe.pc.createOffer().then(({sdp}) => sdp)")
    for line in offered.split("m=video")[1:]:
        names = re.findall(r"a=rtpmap:\d+ (?!rtx)([^/]+)", line)
        assert "VP8" in names
        assert len(names) == len(set(names)), names
    await agree(alice, bob)
    # A tile out of view costs nothing, and has its picture again when it is back.
    for place, comes in (("-9000px", False), ("", True)):
        await bob.page.evaluate("(place) => document.getElementById('tiles').style.translate = place", place)
        await asyncio.wait_for(bob.page.evaluate(_VIDEO_COMES, comes), PATIENCE_SECONDS)
    await alice.press("btn-hangup")
    await bob.sees_the_end("alice-one")


# By default there are three pages. A fourth would double the number of pictures and test nothing new.
@pytest.mark.parametrize("gathered", [three, pytest.param(four, marks=pytest.mark.deep)])
async def test_all_see_each_other_hold_and_resume_and_share_a_screen(
    visit: Visit, gathered: Callable[[Visit, str], Awaitable[tuple[Person, ...]]]
) -> None:
    people = alice, bob, *_, last = await gathered(visit, "many")
    await all_see_each_other(*people)
    await agree(*people)
    await bob.press("btn-hold")
    await bob.is_in("on-hold")
    for other in people:
        if other is not bob:
            await expect(tile(other, bob)).to_have_attribute("data-state", "on-hold")
            await expect(tile(other, bob)).to_contain_text("On hold", use_inner_text=True)
            await sees_still(other, bob)
    await sees(alice, last)
    # The design sheet's hold is recvonly: the holder continues to receive.
    assert await decoded(bob, alice.username) is not None
    await agree(*people)
    await bob.press("btn-hold")
    await bob.is_in("open")
    await all_see_each_other(*people)
    await expect(tile(alice, bob)).to_have_attribute("data-state", "")
    await agree(*people)

    # All see a screen, except a user who rejects it.
    await last.asks_first()
    await alice.press("btn-screen")
    for other in people[1:-1]:
        await sees(other, alice, screen=True)
    await expect(tile(bob, "alice-many-screen")).to_have_attribute("data-front", "true")
    await last.shows("mod-dialog", "alice-many wants to share a screen")
    await last.press("mod-reject")
    await alice.is_told(f"{last.username} rejected the change")
    await expect(tile(last, "alice-many-screen")).to_have_count(0)
    await sees(last, alice)
    await sees(alice, last)
    await agree(*people)
    await alice.press("btn-screen")
    await expect(tile(bob, "alice-many-screen")).to_have_count(0)
    await all_see_each_other(*people)
    await agree(*people)


# Only `deep`: in the test of an open conference, a user also joins later.
@pytest.mark.deep
async def test_a_participant_that_joins_later_sees_all_others_at_once(visit: Visit) -> None:
    people = alice, *_ = await four(visit, "late")
    await all_see_each_other(*people)
    erin = await come(visit, "erin-late")
    await alice.press("btn-invite")
    await alice.press("invite-erin-late")
    await alice.press("invite-close")
    await expect(tile(alice, erin)).to_have_attribute("data-state", "invited")
    assert await alice.page.evaluate(_LAST_PLACE) == "tile-self"
    await erin.press("ring-accept")
    await erin.is_in("open")
    await all_see_each_other(*people, erin)
    await agree(*people, erin)


# All these actions share one conference, because connecting three pages takes longer than the actions.
async def test_three_write_and_pin_a_tile_one_moves_and_the_host_mutes_removes_and_ends(visit: Visit) -> None:
    people = alice, bob, carol = await three(visit, "host")
    for person in people:
        await person.until("() => window.sbe.client.currentCall.chat.open")
    await all_see_each_other(*people)
    await _what_is_written_reaches_everybody(alice, bob, carol)
    await _a_tile_is_pinned_with_the_keyboard(alice, bob)
    bob = await _one_moves_to_another_device_and_nobody_renegotiates(visit, alice, bob, carol)
    await _the_host_mutes_and_removes(alice, bob, carol)
    # A reloaded page returns as the same participant.
    await bob.page.reload()
    await bob.press("rejoin-join")
    await bob.is_in("open")
    await all_see_each_other(alice, bob)
    await alice.press("btn-hangup")
    await bob.sees_the_end("alice-host")


async def _one_moves_to_another_device_and_nobody_renegotiates(
    visit: Visit, alice: Person, bob: Person, carol: Person
) -> Person:
    phone = await come(visit, bob.username, "phone")
    # A screen that was shared once must not come back.
    await bob.press("btn-screen")
    await sees(alice, bob, screen=True)
    await bob.press("btn-screen")
    await expect(tile(alice, "bob-host-screen")).to_have_count(0)
    await agree(alice, bob, carol)
    offers = {other.username: _offers_to(other) for other in (alice, carol)}
    await move(bob)
    for other in (alice, carol):
        await expect(tile(other, bob)).to_have_attribute("data-state", "moving")
        await expect(tile(other, bob)).to_contain_text("Moving to another device", use_inner_text=True)
        # The first offer is for the hold that arms the move. The second is for the tracks that the participant keeps
        # during the move.
        await _is_offered(other, offers[other.username] + 2)
        await is_settled(other)
        await expect(tile(other, "bob-host-screen")).to_have_count(0)
    await phone.press("ring-accept")
    await phone.is_in("open")
    for other in (alice, carol):
        await goes_on(other, bob)
        await expect(tile(other, bob)).to_have_attribute("data-state", "")
    await all_see_each_other(alice, phone, carol)
    await bob.is_in("moved")
    for other in (alice, carol):
        assert _offers_to(other) == offers[other.username] + 2, f"{other.username} was offered something"
    await agree(alice, phone, carol)
    return phone


async def _the_host_mutes_and_removes(alice: Person, bob: Person, carol: Person) -> None:
    people = alice, bob, carol
    await expect(bob.part("menu-carol-host")).to_be_hidden()
    await tile(alice, bob).hover()
    await alice.press("menu-bob-host")
    await alice.press("menu-mute")
    await bob.is_told("The host muted your microphone")
    await expect(bob.part("btn-mic")).to_have_attribute("data-on", "false")
    for other in (alice, carol):
        await expect(tile(other, bob)).to_have_attribute("data-silent", "true")
    await bob.press("btn-mic")
    for other in (alice, carol):
        await expect(tile(other, bob)).to_have_attribute("data-silent", "false")
    await tile(alice, carol).hover()
    await alice.press("menu-carol-host")
    await alice.press("menu-video")
    await carol.is_told("The host turned your camera off")
    await expect(tile(bob, carol)).to_have_attribute("data-picture", "false")
    await agree(*people)
    await carol.press("btn-camera")
    await all_see_each_other(*people)
    await tile(alice, carol).hover()
    await alice.press("menu-carol-host")
    await alice.press("menu-remove")
    await carol.sees_the_end("You were removed")
    await expect(tile(bob, carol)).to_have_count(0)
    await all_see_each_other(alice, bob)
    await agree(alice, bob)


async def participant_id(person: Person) -> str:
    """Return the ID of a user's participant."""
    return str(await person.page.evaluate("window.sbe.client.currentCall.me.id"))


async def deliver_old_removal(person: Person) -> None:
    """Deliver an old removal event to a page whose participant has already returned."""
    await person.page.evaluate(
        """() => {
          const {currentCall} = window.sbe.client;
          const participant = {...currentCall.me, state: "left", leftReason: "removed"};
          const {confId} = currentCall;
          return currentCall.handle({type: "participant-left", confId, reason: "removed", participant});
        }"""
    )
    await person.is_in("open")


async def test_an_open_conference_is_joined_by_its_link(visit: Visit) -> None:
    alice = await come(visit, "alice-open")
    await alice.press("open-start")
    link = await alice.until("() => document.querySelector('#lonely-link').value")
    query = re.sub(r"^[^?]*\?", "&", link)
    bob = await come(visit, "bob-open", query=query)
    await bob.press("preview-join")
    await bob.is_in("open")
    await all_see_each_other(alice, bob)
    carol = await come(visit, "carol-open", query=query)
    await carol.press("preview-camera")
    await carol.press("preview-join")
    await carol.is_in("open")
    await sees(carol, alice)
    await expect(tile(alice, carol)).to_have_attribute("data-picture", "false")
    await agree(alice, bob, carol)
    await carol.press("btn-hangup")
    await expect(tile(alice, carol)).to_have_count(0)
    await sees(alice, bob)
    participant, address = await participant_id(bob), bob.page.url
    await bob.press("btn-hangup")
    await alice.shows("lonely", "Nobody else is here")
    await bob.page.goto(address + query)
    await bob.press("preview-join")
    await bob.is_in("open")
    await all_see_each_other(alice, bob)
    assert await participant_id(bob) == participant
    # Bob's page may read the event of an earlier removal only after Bob's return.
    await deliver_old_removal(bob)
    await goes_on(bob, alice)
    await bob.press("btn-hangup")
    await alice.shows("lonely", "Nobody else is here")
    await alice.press("btn-hangup")
    await alice.is_in("ended")


async def test_a_new_connection_repairs_an_answer_that_comes_too_late(visit: Visit) -> None:
    alice, bob = await come(visit, "alice-late"), await come(visit, "bob-late")
    await call(alice, bob)
    await all_see_each_other(alice, bob)
    session = await bob.page.evaluate("window.sbe.client.session")
    late: list[str] = []

    async def settle_first(route: Route) -> None:
        request = route.request
        if request.headers.get("x-conference-action") == "accept-conference-mod" and not late:
            late.append(json.loads(request.post_data or "")["modId"])
            headers = {"Authorization": f"Bearer {session['token']}"}
            headers["x-conference-action"] = "rejectCancel-conference-mod"
            async with httpx.AsyncClient() as client:
                settled = await client.put(request.url, headers=headers, json={"modId": late[0]})
            assert settled.status_code == 204, settled.text
        await route.continue_()

    await bob.page.route(re.compile("/mediaConferences/[^/]+$"), settle_first)
    await alice.press("btn-screen")
    await sees(bob, alice, screen=True)
    await sees(alice, bob)
    assert late
    await agree(alice, bob)


async def _what_is_written_reaches_everybody(alice: Person, bob: Person, carol: Person) -> None:
    await alice.press("btn-chat")
    await alice.part("chat-input").fill("Good morning <b>all</b>")
    await alice.part("chat-input").press("Enter")
    await expect(bob.part("chat-badge")).to_have_text("1")
    await bob.press("btn-chat")
    await expect(bob.part("chat-message")).to_contain_text(alice.username)
    await expect(bob.part("chat-message")).to_contain_text("Good morning <b>all</b>")
    await bob.part("chat-input").fill("Morning")
    await bob.press("chat-send")
    # The key that opens the chat is not typed into it.
    await carol.page.keyboard.press("c")
    await expect(carol.part("chat-input")).to_be_focused()
    await expect(carol.part("chat-input")).to_have_value("")
    for person in (carol, alice):
        await expect(person.part("chat-message")).to_have_count(2)
    for person in (alice, bob, carol):
        await person.press("chat-close")


async def _a_tile_is_pinned_with_the_keyboard(alice: Person, bob: Person) -> None:
    name = bob.username
    await alice.part(f"pin-{name}").focus()
    await alice.page.keyboard.press("Enter")
    await expect(tile(alice, bob)).to_have_attribute("data-front", "true")
    await expect(alice.part(f"pin-{name}")).to_be_focused()
    await expect(alice.part(f"pin-{name}")).to_have_attribute("aria-label", f"Unpin {name}")
    await alice.page.keyboard.press("Tab")
    await alice.page.keyboard.press("Enter")
    await expect(alice.part("menu-pin")).to_be_focused()
    await alice.page.keyboard.press("ArrowDown")
    await expect(alice.part("menu-mute")).to_be_focused()
    await alice.page.keyboard.press("Escape")
    await expect(alice.part("tile-menu")).to_be_hidden()
    await expect(alice.part(f"menu-{name}")).to_be_focused()
    await sees(alice, bob)
