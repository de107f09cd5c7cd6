"""Calls that are not answered, and two users who call each other at the same time."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.endpoints import Endpoints
from tests.support.journeys.people import Person, Visit, call, in_a_call, move
from tests.support.services import Backends, Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

_SHORT_RINGS = {"SBE_RING_SECONDS": "3"}
_SHORT_PRESENCE = {"SBE_AWAY_SECONDS": "0.5", "SBE_AWAY_SESSION_SECONDS": "6"}


@pytest.fixture(scope="module")
def hasty(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with a short ringing time."""
    with Server(backends.sqlite(), tmp_path_factory.mktemp("hasty"), _SHORT_RINGS | _SHORT_PRESENCE) as running:
        yield running


async def test_a_dialled_call_can_be_declined_or_cancelled(visit: Visit) -> None:
    alice, bob = await visit("alice-dial"), await visit("bob-dial", query="&vtn=%2B15550177")
    sent: list[Any] = []
    alice.page.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    await alice.part("dial-input").fill("+1 (555) 0177")
    await alice.part("dial-input").press("Enter")
    await bob.shows("ring-dialog", "alice-dial")
    assert json.loads(sent[-1])["to"] == ["tel:+15550177"]
    await bob.press("ring-decline")
    await alice.sees_the_end("Call declined", "+15550177 declined.")

    await alice.press("ended-again")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await expect(alice.part("btn-hangup")).to_contain_text("Cancel")
    await alice.press("btn-hangup")
    await alice.sees_the_end("You hung up before anyone answered.")
    await expect(bob.part("ring-dialog")).to_be_hidden()
    await bob.is_told("You missed a call from alice")

    await alice.press("ended-done")
    await alice.part("dial-input").fill("tel:nobody")
    await alice.press("dial-submit")
    await alice.is_told("Write a number as 'tel:+'")
    await expect(alice.part("dial-input")).to_be_visible()
    assert await alice.page.evaluate("window.sbe.client.media.microphone") is None


async def test_a_call_that_is_not_answered_ends(visit: Visit, hasty: Server) -> None:
    bob, phone, alice = [await visit(*who, at=hasty) for who in (("bob",), ("alice", "phone"), ("alice",))]
    await phone.part("dial-input").fill("nobody-here")
    await phone.press("dial-submit")
    await phone.shows("view-call", "nobody-here", "Not here at the moment. They will see a missed call.")
    await alice.press("call-audio-bob")
    await expect(bob.part("ring-dialog")).to_be_visible()
    await alice.sees_the_end("No answer", "bob did not answer.")
    await expect(bob.part("ring-dialog")).to_be_hidden()
    await bob.is_told("You missed a call from alice")
    await phone.sees_the_end("No answer", "nobody-here did not answer.")

    # The missed call waits for the user.
    nobody = await visit("nobody-here", at=hasty)
    await nobody.shows("missed", "alice")
    await nobody.press("missed-clear")
    await expect(nobody.part("missed")).to_be_hidden()
    await nobody.page.reload()
    await nobody.shows("people-list", "bob")
    await expect(nobody.part("missed")).to_be_hidden()

    await phone.press("ended-done")
    await alice.press("ended-done")
    await call(alice, bob, kind="audio")
    await move(alice)
    await alice.shows("moved-overlay", "Ringing phone", "If no device answers in ")
    await phone.shows("ring-dialog", "Continue the call on this device")
    await bob.shows("hold-overlay", "alice is moving to another device")
    await alice.sees_the_end("None of your other devices answered")
    await bob.sees_the_end("alice did not answer on the other device.")
    await expect(phone.part("ring-dialog")).to_be_hidden()


async def test_a_device_that_lost_its_connection_is_away_and_then_gone(visit: Visit, hasty: Server) -> None:
    alice = await visit("alice-ghost", at=hasty)
    async with Endpoints() as endpoints:
        ghost = await endpoints.register(hasty, "ghost")
        async with ghost.socket(after=0) as socket:
            await expect(alice.part("person-ghost")).to_contain_text("laptop")
            socket.transport.abort()
        await expect(alice.part("person-ghost")).to_contain_text("Away")
        await expect(alice.part("person-ghost")).to_be_hidden()


async def test_another_call_can_come_in_during_a_call(visit: Visit) -> None:
    alice, bob = await in_a_call(visit, "two")
    carol = await visit("carol-two", direct=False)
    await carol.press("call-audio-alice-two")
    await alice.shows("ring-dialog", "Incoming audio call", "Accepting ends the call you are in.")
    await alice.press("ring-decline")
    await carol.sees_the_end("alice-two declined.")
    await alice.is_in("open")
    await carol.press("ended-again")
    await alice.press("ring-accept")
    await bob.sees_the_end("alice-two hung up.")
    await carol.is_in("open")
    # An audio call is accepted, and repeated, without the camera.
    for person in (alice, carol):
        assert await person.page.evaluate("window.sbe.client.media.camera") is None
    # The callee, too, can repeat a call of two.
    await carol.press("btn-hangup")
    await alice.press("ended-again")
    await carol.shows("ring-dialog", "alice-two", "Incoming audio call")


@pytest.mark.parametrize("topology", ["peer", pytest.param("focus", marks=pytest.mark.deep)])
async def test_one_of_two_crossing_calls_survives_if_both_users_accept(visit: Visit, topology: str) -> None:
    alice, bob = await visit(f"alice-cross-{topology}"), await visit(f"bob-cross-{topology}")
    await asyncio.gather(*(_place(*pair, topology) for pair in ((alice, bob), (bob, alice))))
    await alice.shows("ring-dialog", bob.username)
    await bob.shows("ring-dialog", alice.username)
    await asyncio.gather(_accept(alice), _accept(bob))
    for person in (alice, bob):
        await person.is_in("open")
        await person.until("() => window.sbe.pc?.connectionState === 'connected'")
        await expect(person.part("ring-dialog")).to_be_hidden()
        await expect(person.page.locator(".toast.bad")).to_have_count(0)
    assert await alice.conference_id() == await bob.conference_id()


async def _accept(person: Person) -> None:
    """Accept the invitation, unless it no longer rings: the other user may have accepted first."""
    await person.page.evaluate(
        """() => {
          if (document.getElementById("ring-dialog").open) document.getElementById("ring-accept").click();
        }"""
    )


async def _place(caller: Person, callee: Person, topology: str) -> None:
    """Place a video call with `SbeClient` itself. An invitation that has just arrived may cover the page's button."""
    await expect(caller.part(f"call-video-{callee.username}")).to_be_visible()
    await caller.page.evaluate(
        """async ([to, topology]) => {
          const { client } = window.sbe;
          await client.media.openMicrophone();
          await client.media.openCamera();
          await client.startConference({ to: [to], topology });
        }""",
        [callee.username, topology],
    )
