"""Users in a conference of many: connecting them, and what each of them sees of the others."""

import asyncio
import time
from typing import Any

from tests.support.journeys.people import BRIGHT, PATIENCE_SECONDS, Person, Visit
from tests.support.replay import facts, replay

# Reads a tile: whether its picture is visible and not black, and how many frames its video has shown.
_LOOK = """(testid) => {
  const video = document.querySelector(`[data-testid="${testid}"] video`);
  if (!video) return {tile: "missing"};
  const {videoWidth, paused, readyState} = video;
  const tracks = video.srcObject?.getTracks().map(({kind, muted, readyState}) => ({kind, muted, readyState}));
  if (!videoWidth || !video.checkVisibility({visibilityProperty: true}))
    return {tile: {...video.parentElement.dataset}, videoWidth, paused, readyState, tracks};
  const bright = BRIGHT;
  return {bright: bright(video), frames: video.getVideoPlaybackQuality().totalVideoFrames};
}""".replace("BRIGHT", BRIGHT)

# How many video frames of a user were decoded, by label.
_DECODED = """async ([username, label]) => {
  const call = window.sbe.client.currentCall;
  const other = call.others.find((each) => each.username === username);
  const track = other?.[label];
  if (!track) return null;
  const line = call.leg.pc.getTransceivers().find(({receiver}) => receiver.track === track);
  for (const report of (await line.receiver.getStats()).values())
    if (report.type === "inbound-rtp") return report.framesDecoded ?? 0;
  return 0;
}"""
# A participant that answers reads the conference once, because earlier joins were not announced to it.
_NOTE_SNAPSHOTS = """() => {
  window.snapshots = {};
  window.sbe.client.on("trace", ({title, detail}) => {
    const {answer} = detail ?? {};
    if (title.startsWith("GET") && answer?.participants) window.snapshots[answer.id] ??= answer;
  });
}"""


async def decoded(person: Person, of: str, label: str = "camera") -> int | None:
    """Return how many frames of a user's picture were decoded; None if none is received."""
    frames: int | None = await person.page.evaluate(_DECODED, [of, label])
    return frames


async def sees(person: Person, other: Person | str, *, screen: bool = False) -> None:
    """Wait until a user's picture moves in its tile and is not black."""
    username = other if isinstance(other, str) else other.username
    name = f"{username}-screen" if screen else username
    label = "screen" if screen else "camera"
    deadline = time.monotonic() + PATIENCE_SECONDS
    first: int | None = None
    while True:
        frames = await decoded(person, username, label)
        first = frames if first is None else first
        # Reading a picture takes the browser a long time.
        moves = frames is not None and first is not None and frames >= first + 3
        late = time.monotonic() >= deadline
        looks = await person.page.evaluate(_LOOK, f"tile-{name}") if moves or late else {}
        if moves and looks.get("bright"):
            return
        assert not late, f"{person.username} does not see {name}: {frames} frames, {looks}"
        await asyncio.sleep(0.2)


async def all_see_each_other(*people: Person) -> None:
    """Wait until all users see each other."""
    await asyncio.gather(*(sees(one, other) for one in people for other in people if one is not other))


async def sees_still(person: Person, other: Person) -> None:
    """Wait until no frame of a user's picture is decoded for half a second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        before = await decoded(person, other.username)
        await asyncio.sleep(0.5)
        if before is None or await decoded(person, other.username) == before:
            return
        assert time.monotonic() < deadline, f"{other.username}'s picture does not stop at {person.username}'s"


def tile(person: Person, other: Person | str) -> Any:
    """Return the locator of a user's tile."""
    return person.part(f"tile-{other if isinstance(other, str) else other.username}")


async def look_around(person: Person) -> None:
    """Make a page refresh its list of users now. By itself it does so every few seconds."""
    await person.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


async def gather(host: Person, *guests: Person) -> None:
    """Start a call of the host to several users, who all accept."""
    await look_around(host)
    for guest in guests:
        await host.part(f"pick-{guest.username}").check()
    await host.press("picked-video")
    for guest in guests:
        await guest.press("ring-accept")
    for person in (host, *guests):
        await person.is_in("open")


async def come(visit: Visit, username: str, device: str = "laptop", **options: Any) -> Person:
    """Open the page as a user who calls through the focus."""
    options = {"viewport": {"width": 640, "height": 500}, "direct": False, **options}
    person = await visit(username, device, **options)
    await person.page.evaluate(_NOTE_SNAPSHOTS)
    return person


async def four(visit: Visit, name: str) -> tuple[Person, Person, Person, Person]:
    """Connect four users in a conference. The first is the host."""
    alice, bob, carol, dave = [await come(visit, f"{who}-{name}") for who in ("alice", "bob", "carol", "dave")]
    await gather(alice, bob, carol, dave)
    return alice, bob, carol, dave


async def three(visit: Visit, name: str) -> tuple[Person, Person, Person]:
    """Connect three users, for tests in which a fourth would only cost time."""
    alice, bob, carol = [await come(visit, f"{who}-{name}") for who in ("alice", "bob", "carol")]
    await gather(alice, bob, carol)
    return alice, bob, carol


async def goes_on(person: Person, other: Person) -> None:
    """Wait until a user's picture moves again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    first = await decoded(person, other.username) or 0
    while (await decoded(person, other.username) or 0) <= first:
        assert time.monotonic() < deadline, f"{other.username}'s picture stays frozen at {person.username}'s"
        await asyncio.sleep(0.1)


async def agree(*people: Person) -> None:
    """Require that the events of each user, replayed onto the first snapshot, give what a fresh GET shows."""
    for person in people:
        await is_settled(person)
        conference = await person.conference()
        log = await person.events()
        snapshot = await person.page.evaluate("(id) => window.snapshots[id]", conference["id"])
        if snapshot is not None:
            rung = next((at for at, event in enumerate(log) if event["type"] == "invitation-received"), -1)
            log.insert(rung + 1, {"type": "read", "confId": conference["id"], "conference": snapshot})
        assert replay(log, conference["id"]) == facts(conference), person.username
        heard = person.heard()
        assert heard == list(range(1, len(heard) + 1)), f"{person.username} heard {heard}"


async def is_settled(person: Person) -> None:
    """Wait until no modification is pending between a user and the focus."""
    await person.until("() => window.sbe.client.currentCall.pending === null")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (await person.conference())["pendingModifications"]:
        assert time.monotonic() < deadline, "something stays pending"
        await asyncio.sleep(0.1)
