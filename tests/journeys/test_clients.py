"""Three implementations of WebRTC in one conference: Chromium, Firefox and aiortc hear and see each other."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.support.endpoints import Endpoints
from tests.support.journeys.firefox import SMALL_DEVICES, Firefox, firefox
from tests.support.journeys.focus_people import come, look_around
from tests.support.journeys.people import PATIENCE_SECONDS, Person, Visit
from tests.support.journeys.robot import HEIGHT, WIDTH, Robot, robot
from tests.support.namespace import in_a_network_of_its_own
from tests.support.services import Server

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# A track counts as received if its counter grows by this much: sound energy (silence adds none), or video frames.
_SOME = {"audio": 1e-4, "video": 5, "screen": 5}
# The media that a page has decoded from each user: sound energy, number of video frames, and the picture's width and
# height.
_RECEIVED = """async () => {
  const {leg, others} = window.sbe.client.currentCall;
  const received = [];
  for (const {username, audio, camera: video, screen} of others) {
    for (const [label, track] of Object.entries({audio, video, screen})) {
      const line = track && leg.pc.getTransceivers().find(({receiver}) => receiver.track === track);
      for (const report of line ? (await line.receiver.getStats()).values() : [])
        if (report.type === "inbound-rtp")
          received.push([username, label, report.totalAudioEnergy ?? report.framesDecoded ?? 0,
            [report.frameWidth, report.frameHeight]]);
    }
  }
  return received;
}"""
_CAN_SAY = "() => window.sbe.client.currentCall.chat.open"
_SAY = "(text) => window.sbe.client.currentCall.say(text)"
_READ = "() => window.sbe.client.currentCall.chat.messages.filter(({mine}) => !mine).map(({text}) => text).sort()"

# A username, and the label of a track: `audio`, `video` or `screen`.
Track = tuple[str, str]
EVERYTHING: set[Track] = {(of, label) for of in ("chris", "fiona", "rob") for label in ("audio", "video")}


@dataclass
class Meeting:
    """The users in the conference: Chris with Chromium, who called the others; Fiona with Firefox; Rob with aiortc."""

    chris: Person
    fiona: Firefox
    rob: Robot

    async def received(self, who: str) -> Mapping[Track, float]:
        """Return the sound energy or number of video frames of each track that a user has decoded.

        For Rob, count the loud or bright frames.
        """
        if who == "rob":
            return {track: reception.lively for track, reception in (await self.rob.receptions()).items()}
        return {(of, label): amount for of, label, amount, _ in await self._page(who)(_RECEIVED)}

    async def shape(self, who: str, of: str) -> list[int]:
        """Return the width and height of the picture that a page receives from a user."""
        received = await self._page(who)(_RECEIVED)
        return next(shape for username, label, _, shape in received if (username, label) == (of, "video"))

    def _page(self, who: str) -> Callable[[str], Awaitable[Any]]:
        return self.chris.page.evaluate if who == "chris" else self.fiona.evaluate


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(visit: Visit, server: Server) -> AsyncIterator[Meeting]:
    """Connect the three users in one conference."""
    async with firefox() as fiona, Endpoints() as endpoints, robot(await endpoints.register(server, "rob")) as rob:
        chris = await come(visit, "chris")
        await fiona.prepare(SMALL_DEVICES)
        await fiona.open(f"{server.base_url}/?user=fiona&device=laptop")
        await look_around(chris)
        for each in ("fiona", "rob"):
            await chris.part(f"pick-{each}").check()
        await chris.press("picked-video")
        await asyncio.gather(fiona.press("ring-accept"), rob.answer())
        yield Meeting(chris, fiona, rob)
        assert await fiona.complaints() == []


@in_a_network_of_its_own
async def test_chromium_firefox_and_aiortc_meet(meeting: Meeting) -> None:
    await all_receive(meeting, EVERYTHING)
    for who in ("chris", "fiona"):
        assert await meeting.shape(who, of="rob") == [WIDTH, HEIGHT]
    await all_read_what_one_writes(meeting)

    await meeting.fiona.press("btn-hold")
    await all_receive(meeting, EVERYTHING - {("fiona", "audio"), ("fiona", "video")})
    await meeting.fiona.press("btn-hold")
    await all_receive(meeting, EVERYTHING)


@pytest.mark.deep
@in_a_network_of_its_own
async def test_aiortc_holds_and_resumes_and_firefox_shares_its_screen(meeting: Meeting) -> None:
    await all_receive(meeting, EVERYTHING)
    await meeting.rob.offer("initiate-conference-hold", "recvonly")
    await all_receive(meeting, EVERYTHING - {("rob", "audio"), ("rob", "video")})
    await meeting.rob.offer("initiate-conference-resume", "sendrecv")
    await all_receive(meeting, EVERYTHING)

    assert await meeting.fiona.evaluate("() => window.sbe.client.currentCall.shareScreen()") == "accepted"
    await all_receive(meeting, EVERYTHING | {("fiona", "screen")})


async def all_receive(meeting: Meeting, tracks: set[Track]) -> None:
    """Wait until each user receives, of these tracks, exactly those of the other users."""
    await asyncio.gather(
        *(receives(meeting, who, {track for track in tracks if track[0] != who}) for who in ("chris", "fiona", "rob"))
    )


async def receives(meeting: Meeting, who: str, tracks: set[Track]) -> None:
    """Wait until a user receives these tracks continuously, and no others."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    before: dict[Track, float] = {}
    while True:
        meeting.rob.check()
        now = await meeting.received(who)
        # The counters may restart at zero after a hold.
        before = {track: min(before.get(track, amount), amount) for track, amount in now.items()}
        if now.keys() == tracks and all(now[track] >= before[track] + _SOME[track[1]] for track in tracks):
            return
        assert time.monotonic() < deadline, f"{who} does not receive {tracks}, but {now}, before that {before}"
        await asyncio.sleep(0.2)


async def all_read_what_one_writes(meeting: Meeting) -> None:
    """Send a message from each user once all three chats are open. Wait until the other two have read it."""
    chris, fiona, rob = meeting.chris.page, meeting.fiona, meeting.rob
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (rob.chat_is_open and await chris.evaluate(_CAN_SAY) and await fiona.evaluate(_CAN_SAY)):
            await asyncio.sleep(0.1)
        rob.say("rob")
        for page, name in ((chris, "chris"), (fiona, "fiona")):
            assert await page.evaluate(_SAY, name)
        expected = [["fiona", "rob"], ["chris", "rob"], ["chris", "fiona"]]
        while [await chris.evaluate(_READ), await fiona.evaluate(_READ), sorted(rob.read)] != expected:
            await asyncio.sleep(0.1)
