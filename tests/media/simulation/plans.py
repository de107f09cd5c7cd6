"""The plans: what happens to the network in a simulated call. Each returns what it has measured.

Unless a plan says otherwise, alice and bob send, and bob and carol watch. What happens, happens to carol's connection.
Shares are between 0 and 1, times in seconds, and rates in bits per second.
"""

from collections.abc import Awaitable, Callable, Mapping
from statistics import mean

from media.forward import rtcp
from tests.support.depth import examples
from tests.support.media.path import Path
from tests.support.media.simulation.call import Call
from tests.support.media.simulation.camera import LARGE, MIDDLE, SMALL, Camera
from tests.support.media.simulation.network import Link

Measures = dict[str, float]
Plan = Callable[[Call], Awaitable[Measures]]
PLANS: dict[str, Plan] = {}

SENDERS = ("alice", "bob")
TOP = 2
FRAMES = 20
# How long a call has lasted when something happens to the network.
SETTLED = 5.0


def plan(name: str) -> Callable[[Plan], Plan]:
    """Register a plan."""

    def register(made: Plan) -> Plan:
        PLANS[name] = made
        return made

    return register


async def meet(call: Call, *, link: Link | None = None, cameras: Mapping[str, Camera] | None = None) -> None:
    """Have alice, bob and carol begin a call. `link` is carol's."""
    for number, name in enumerate(SENDERS):
        own = (cameras or {}).get(name)
        # Alice watches nobody, which saves time.
        await call.join(name, camera=own or Camera(seed=10 * call.seed + number), watches=name != "alice")
    await call.join("carol", link=link)
    await call.start()


async def crowd(call: Call, senders: int) -> list[str]:
    """Have this many participants send, who watch nobody, and carol watch them all. Return their names."""
    names = [f"sender-{number}" for number in range(senders)]
    for number, name in enumerate(names):
        # The largest layer would not fit for anybody.
        camera = Camera(sizes=(SMALL, MIDDLE), seed=10 * call.seed + number)
        await call.join(name, camera=camera, watches=False)
    await call.join("carol")
    await call.start()
    return names


def quality(call: Call, since: float, *, of: str = "carol", until: float | None = None) -> Measures:
    """Measure the worst of what a participant saw and heard of the senders."""
    senders = [name for name in SENDERS if name != of]
    views = [call.view(of, name, since, until) for name in senders]
    sounds = [call.sound(of, name, since, until) for name in senders]
    return {
        "fps": min(view.frames_a_second for view in views),
        "frozen": max(view.frozen for view in views),
        "gap": max(view.longest_gap for view in views),
        "switches": max(view.switches for view in views),
        "layer": min(view.layer for view in views),
        "concealed": max(sound.concealed for sound in sounds),
        "sound gap": max(sound.longest_gap for sound in sounds),
    }


def others(call: Call, since: float) -> Measures:
    """Measure what bob saw of alice meanwhile: nothing that happens to carol may change it."""
    view = call.view("bob", "alice", since)
    top = view.layers[TOP] / max(1, view.layers.total())
    return {"other's fps": view.frames_a_second, "other's frozen": view.frozen, "other's top layer": top}


def first_shown(call: Call, since: float, fits: Callable[[int], bool]) -> float:
    """Return after what time carol saw all senders in a layer that fits, and kept it for ten frames."""
    worst = 0.0
    for name in SENDERS:
        shown = [each for each in call.endpoints["carol"].screens[name, "video"].shown if each.at >= since]
        runs = range(len(shown) - 10)
        found = next((i for i in runs if all(fits(each.place) for each in shown[i : i + 10])), None)
        worst = max(worst, shown[found].at - since if found is not None else call.now - since)
    return worst


def narrow(call: Call, rate: float | None, queue: float = 0.3) -> None:
    """Limit carol's downlink."""
    path = call.endpoints["carol"].link.down
    path.rate, path.queue = rate, queue


async def watch_queue(call: Call, path: Path, seconds: float) -> float:
    """Let time pass. Return the mean wait in the queue of a path."""
    waits = []
    for _ in range(int(seconds / 0.1)):
        await call.pass_time(0.1)
        waits.append(path.waiting(call.now))
    return mean(waits)


# --- Good networks --------------------------------------------------------------------------------------------


@plan("clean")
async def clean(call: Call) -> Measures:
    """Nothing happens."""
    await meet(call)
    await call.pass_time(SETTLED)
    since, before = call.now, _key_frames(call)
    await call.pass_time(10)
    return {**quality(call, since), "key frames": _key_frames(call) - before}


def _key_frames(call: Call) -> int:
    return sum(call.camera(name).key_frames for name in SENDERS)


@plan("start")
async def start(call: Call) -> Measures:
    """A call begins on a free network."""
    since = call.now
    await meet(call)
    begun = call.now
    await call.pass_time(8)
    shown = [call.endpoints["carol"].screens[name, "video"].shown for name in SENDERS]
    return {
        "first frame": max(each[0].at for each in shown) - begun,
        "top layer after": first_shown(call, since, lambda place: place == TOP),
        "rate at 3": call.rate("carol", begun + 2.5, begun + 3.5),
        "frozen": quality(call, begun + 0.5)["frozen"],
    }


async def changed(call: Call, seconds: float = 10.0, *, delay: float = 0.02, **changes: float | bool) -> Measures:
    """Change both of carol's paths. Their delay is that from the beginning."""
    await meet(call, link=Link(Path(delay=delay), Path(delay=delay)))
    await call.pass_time(SETTLED)
    call.endpoints["carol"].link.change(**changes)
    since = call.now
    await call.pass_time(seconds)
    return {**quality(call, since), **others(call, since)}


@plan("jitter")
async def jitter(call: Call) -> Measures:
    """Packets are delayed by up to 40 ms more, in order."""
    return await changed(call, jitter=0.04, keeps_order=True)


@plan("reordering")
async def reordering(call: Call) -> Measures:
    """Some packets are overtaken by others."""
    return await changed(call, reordered=0.03)


@plan("duplicates")
async def duplicates(call: Call) -> Measures:
    """Some packets arrive twice."""
    return await changed(call, duplicated=0.1)


@plan("far away")
async def far_away(call: Call) -> Measures:
    """The path is 170 ms long, each way."""
    return await changed(call, delay=0.17)


@plan("farther away")
async def farther_away(call: Call) -> Measures:
    """The path becomes longer: from 20 to 170 ms, each way."""
    await meet(call)
    await call.pass_time(SETTLED)
    call.endpoints["carol"].link.change(delay=0.17)
    await call.pass_time(8)
    since = call.now
    await call.pass_time(6)
    return {**quality(call, since), **others(call, since)}


# --- Losses ---------------------------------------------------------------------------------------------------


@plan("1 % loss")
async def little_loss(call: Call) -> Measures:
    """A little is lost at random."""
    return await changed(call, loss=0.01)


@plan("5 % loss")
async def loss(call: Call) -> Measures:
    """The row of the table: 5 % random loss, 60 ms round trip."""
    return await changed(call, 12, loss=0.05, delay=0.03)


@plan("bursty 10 % loss")
async def bursts(call: Call) -> Measures:
    """The row of the table: 10 % bursty loss, with four packets in a row on average, 80 ms round trip."""
    return await changed(call, 12, loss=0.1, burst=4.0, delay=0.04)


@plan("5 % loss, far away")
async def loss_far_away(call: Call) -> Measures:
    """A repair takes 300 ms."""
    return await changed(call, loss=0.05, delay=0.14)


@plan("sender loses 5 %")
async def sender_loses(call: Call) -> Measures:
    """The path from alice to the node loses packets."""
    await meet(call)
    await call.pass_time(SETTLED)
    path = call.endpoints["alice"].link.up
    path.loss, path.delay = 0.05, 0.03
    since = call.now
    await call.pass_time(12)
    return quality(call, since)


@plan("one layer, 5 % loss")
async def one_layer_loss(call: Call) -> Measures:
    """The senders use no simulcast."""
    cameras = {name: Camera(sizes=(LARGE,), seed=10 * call.seed + i) for i, name in enumerate(SENDERS)}
    await meet(call, cameras=cameras)
    await call.pass_time(SETTLED)
    call.endpoints["carol"].link.change(loss=0.05, delay=0.03)
    since = call.now
    await call.pass_time(12)
    return quality(call, since)


# --- Narrow paths ---------------------------------------------------------------------------------------------


@plan("3 Mbit/s to 500 kbit/s")
async def suddenly_narrow(call: Call) -> Measures:
    """The row of the table."""
    await meet(call)
    await call.pass_time(SETTLED)
    narrow(call, 3_000_000)
    await call.pass_time(2)
    narrow(call, 500_000)
    since, path = call.now, call.endpoints["carol"].link.down
    await call.pass_time(3)
    at_first = quality(call, since)
    queue = await watch_queue(call, path, 9)
    later = quality(call, since + 3)
    return {
        **later,
        **others(call, since),
        "lower layer after": first_shown(call, since, lambda place: place == 0),
        "use": call.rate("carol", since + 3) / 500_000,
        "queue": queue,
        "concealed at first": at_first["concealed"],
        "frozen at first": at_first["frozen"],
    }


@plan("500 kbit/s to free")
async def free_again(call: Call) -> Measures:
    """The row of the table."""
    return await _widened(call, None, 10)


async def _widened(call: Call, rate: float | None, seconds: float) -> Measures:
    """Narrow carol's downlink for a while, and then widen it."""
    await meet(call)
    await call.pass_time(SETTLED)
    narrow(call, 500_000)
    await call.pass_time(6)
    narrow(call, rate)
    since = call.now
    await call.pass_time(seconds)
    return {"top layer after": first_shown(call, since, lambda place: place == TOP), **others(call, since)}


@plan("500 kbit/s to 4 Mbit/s")
async def wide_again(call: Call) -> Measures:
    """As "500 kbit/s to free", but the path still has a limit, which is twice what is sent."""
    return await _widened(call, 4_000_000, 16)


@plan("150 kbit/s")
async def very_narrow(call: Call) -> Measures:
    """The row of the table. The sound of both senders needs four fifths of it."""
    await meet(call)
    await call.pass_time(SETTLED)
    narrow(call, 150_000)
    since = call.now
    await call.pass_time(15)
    return {"concealed": quality(call, since + 3)["concealed"], **others(call, since)}


async def _among_many(call: Call, rate: float, senders: int) -> Measures:
    names = await crowd(call, senders)
    narrow(call, rate)
    await call.pass_time(7)
    since = call.now
    await call.pass_time(10)
    views = [call.view("carol", name, since) for name in names]
    return {
        "use": call.rate("carol", since) / rate,
        "switches": max(view.switches for view in views),
        "shown": sum(view.frames_a_second > FRAMES / 2 for view in views),
        "concealed": max(call.sound("carol", name, since).concealed for name in names),
    }


@plan("8 senders, 1 Mbit/s")
async def many_in_one(call: Call) -> Measures:
    """The row of the table."""
    return await _among_many(call, 1_000_000, 8)


@plan("8 senders, 2 Mbit/s")
async def many_in_two(call: Call) -> Measures:
    """The row of the table."""
    return await _among_many(call, 2_000_000, 8)


@plan("long queue")
async def long_queue(call: Call) -> Measures:
    """A router with a queue of two seconds."""
    await meet(call)
    await call.pass_time(SETTLED)
    narrow(call, 1_000_000, queue=2.0)
    since, path = call.now, call.endpoints["carol"].link.down
    await call.pass_time(4)
    return {"queue": await watch_queue(call, path, 8), **quality(call, since + 4), **others(call, since)}


@plan("short queue")
async def short_queue(call: Call) -> Measures:
    """A router with a queue of 30 ms: congestion is seen as loss."""
    await meet(call)
    await call.pass_time(SETTLED)
    narrow(call, 1_000_000, queue=0.03)
    since = call.now
    await call.pass_time(12)
    return {**quality(call, since + 4), **others(call, since)}


@plan("two behind one queue")
async def behind_one_queue(call: Call) -> Measures:
    """Alice and bob share a connection of 700 kbit/s, on which the smallest layers fit (`make bench-thin`)."""
    shared = Path(queue=0.4)
    for number, name in enumerate(SENDERS):
        await call.join(name, camera=Camera(seed=10 * call.seed + number), link=Link(down=shared))
    await call.start()
    await call.pass_time(SETTLED)
    shared.rate = 700_000
    before = call.now, sum(_lost(call, name) for name in SENDERS)
    await call.pass_time(6)
    since, lost = call.now, sum(_lost(call, name) for name in SENDERS)
    await call.pass_time(8)
    both = [quality(call, since, of=name) for name in SENDERS]
    return {
        "lost": sum(_lost(call, name) for name in SENDERS) - lost,
        "lost at first": lost - before[1],
        "fps at first": min(quality(call, before[0], of=name, until=since)["fps"] for name in SENDERS),
        "fps": min(each["fps"] for each in both),
        "frozen": max(each["frozen"] for each in both),
        "concealed": max(each["concealed"] for each in both),
    }


def _lost(call: Call, name: str) -> int:
    screens = call.endpoints[name].screens.values()
    return sum(screen.expected - screen.received + screen.repeats for screen in screens)


@plan("flapping")
async def flapping(call: Call) -> Measures:
    """The path becomes narrow and wide each second, in deep runs for a minute."""
    await meet(call)
    await call.pass_time(SETTLED)
    since = call.now
    for rate in (400_000, None) * examples(6, deep=30):
        narrow(call, rate)
        await call.pass_time(1)
    narrow(call, None)
    flapped = quality(call, since)
    end = call.now
    await call.pass_time(8)
    return {
        "gap": flapped["gap"],
        "sound gap": flapped["sound gap"],
        "fps afterwards": quality(call, end + 2)["fps"],
        **others(call, since),
    }


# --- Thin uplinks ---------------------------------------------------------------------------------------------


@plan("uplink of 300 kbit/s")
async def thin_uplink(call: Call) -> Measures:
    """The row of the table: alice's uplink becomes narrow. Everybody gets her smallest layer, and bob's largest."""
    await meet(call)
    await call.pass_time(SETTLED)
    path = call.endpoints["alice"].link.up
    path.rate = 300_000
    since = call.now
    await call.pass_time(12)
    view, sound = call.view("carol", "alice", since + 5), call.sound("carol", "alice", since + 5)
    bob = call.view("carol", "bob", since)
    return {
        "fps": view.frames_a_second,
        "layer": view.layer,
        "concealed": sound.concealed,
        "other's fps": bob.frames_a_second,
        "other's top layer": bob.layers[TOP] / max(1, bob.layers.total()),
    }


@plan("uplink recovers")
async def uplink_recovers(call: Call) -> Measures:
    """Alice's uplink becomes narrow, and free again: her larger layers come back."""
    await meet(call)
    await call.pass_time(SETTLED)
    path = call.endpoints["alice"].link.up
    path.rate = 300_000
    await call.pass_time(5)
    path.rate = None
    since = call.now
    await call.pass_time(14)
    return {"top layer after": first_shown(call, since, lambda place: place == TOP)}


# --- Roaming --------------------------------------------------------------------------------------------------


@plan("address change")
async def address_change(call: Call) -> Measures:
    """Carol's address changes in mid-call. Her browser finds out after half a second."""
    await meet(call)
    await call.pass_time(SETTLED)
    carol, since = call.endpoints["carol"], call.now
    carol.pause_reading()
    await call.pass_time(0.5)
    carol.move("127.1.1.3")
    moved = call.now
    await call.pass_time(6)
    back = min(at for at, _ in carol.arrived if at > moved) - moved
    return {"media after": back, **quality(call, moved + 2), **others(call, since)}


@plan("20 s outage")
async def outage(call: Call) -> Measures:
    """Nothing arrives at carol or from her for 20 s."""
    await meet(call)
    await call.pass_time(SETTLED)
    carol, since = call.endpoints["carol"], call.now
    carol.link.change(is_cut=True)
    await call.pass_time(20)
    carol.link.change(is_cut=False)
    back = call.now
    await call.pass_time(8)
    shown = [next((each.at for each in screen.shown if each.at > back), call.now) for screen in carol.screens.values()]
    return {
        "picture after": max(shown) - back,
        "lost legs": len(call.notes.lost_legs),
        **quality(call, back + 4),
        **others(call, since),
    }


# --- Hostile participants -------------------------------------------------------------------------------------


async def _lying(call: Call, lie: Callable[[bytes], list[bytes]]) -> Measures:
    """Carol's transport-wide feedback is false."""
    await meet(call)
    await call.pass_time(SETTLED)
    since = call.now
    call.endpoints["carol"].distort = lie
    await call.pass_time(10)
    counts = call.node.counts()
    return {"faults": counts.faults, "sound gap": quality(call, since)["sound gap"], **others(call, since)}


@plan("lies: all is lost")
async def lost_lies(call: Call) -> Measures:
    """The feedback says that nothing arrives."""
    return await _lying(call, lambda feedback: [_with_symbols(feedback, 0)])


@plan("lies: all is early")
async def early_lies(call: Call) -> Measures:
    """All deltas are as negative as can be."""
    return await _lying(call, lambda feedback: [_with_symbols(feedback, 2, delta=0x8000)])


@plan("lies: numbers that were never sent")
async def unsent_lies(call: Call) -> Measures:
    """The feedback is about other packets."""

    def lie(feedback: bytes) -> list[bytes]:
        first = int.from_bytes(feedback[12:14], "big") + 0x4000 & 0xFFFF
        return [feedback[:12] + first.to_bytes(2, "big") + feedback[14:]]

    return await _lying(call, lie)


@plan("lies: thousands of them")
async def many_lies(call: Call) -> Measures:
    """Each feedback comes a thousand times: 10,000 a second."""
    return await _lying(call, lambda feedback: [feedback] * 1000)


def _with_symbols(feedback: bytes, symbol: int, *, delta: int = 0) -> bytes:
    """Return feedback about the same packets, with one symbol for all."""
    count = rtcp.status_count(feedback)
    content = feedback[4:20] + (symbol << 13 | count).to_bytes(2, "big")
    content += delta.to_bytes(2, "big") * (count if symbol == 2 else 0)
    content += bytes(-len(content) % 4)
    return feedback[:2] + (len(content) // 4).to_bytes(2, "big") + content


@plan("no key frames")
async def no_key_frames(call: Call) -> Measures:
    """Alice answers no request for a key frame, after the first ones. Carol's path loses packets."""
    await meet(call)
    await call.pass_time(SETTLED)
    call.camera("alice").obeys = False
    call.endpoints["carol"].link.change(loss=0.05)
    since = call.now
    await call.pass_time(10)
    view = call.view("carol", "bob", since)
    return {"fps": view.frames_a_second, "frozen": view.frozen, "faults": call.node.counts().faults}


@plan("a layer never comes")
async def missing_layer(call: Call) -> Measures:
    """Alice negotiates three layers, and never sends the middle one."""
    await meet(call, cameras={"alice": Camera(seed=call.seed, missing=frozenset({1}))})
    await call.pass_time(SETTLED)
    since = call.now
    narrow(call, 900_000)
    await call.pass_time(10)
    return {**quality(call, since + 4), **others(call, since)}


@plan("only the largest layer comes")
async def only_large(call: Call) -> Measures:
    """Alice negotiates three layers, and sends only the largest one."""
    await meet(call, cameras={"alice": Camera(seed=call.seed, missing=frozenset({0, 1}))})
    await call.pass_time(SETTLED)
    since = call.now
    await call.pass_time(6)
    return {**quality(call, since), **others(call, since)}


@plan("alice vanishes")
async def vanishing(call: Call) -> Measures:
    """Alice's device is gone from one moment to the next. What carol gets of bob stays as it is."""
    await meet(call)
    await call.pass_time(SETTLED)
    alice = call.endpoints["alice"]
    alice.link.change(is_cut=True)
    since = call.now
    await call.pass_time(10)
    view, sound = call.view("carol", "bob", since), call.sound("carol", "bob", since)
    return {"fps": view.frames_a_second, "frozen": view.frozen, "concealed": sound.concealed}


@plan("clock jumps")
async def clock_jumps(call: Call) -> Measures:
    """The clock of carol's feedback jumps, and so does that of alice's sender reports."""
    await meet(call)
    await call.pass_time(SETTLED)
    since = call.now
    for jump in (100.0, -100.0, 0.5, -0.5):
        call.endpoints["carol"].clock_ahead += jump
        call.endpoints["alice"].sender.clock_ahead += 3 * jump
        await call.pass_time(3)
    return {**quality(call, since), **others(call, since), "faults": call.node.counts().faults}


@plan("the node stops for a while")
async def stopped(call: Call) -> Measures:
    """The node's clock jumps ahead, as when its machine was stopped."""
    await meet(call)
    await call.pass_time(SETTLED)
    call.clock.added += 3.0
    await call.pass_time(3)
    since = call.now
    await call.pass_time(5)
    return {**quality(call, since), "faults": call.node.counts().faults, "lost legs": len(call.notes.lost_legs)}
