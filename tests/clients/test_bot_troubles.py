"""A bot in a conference of three, after a lost connection, after a gap in its events, and with a WAV file."""

import asyncio
import contextlib
import math
import wave
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from sbe_client import AsyncClient, Description, Event
from sbe_client.bot import Bot
from sbe_client.bot.audio import Playout, PlayoutTrack, Resampler, tone
from sbe_client.streaming import EventStream
from tests.clients.conftest import Start
from tests.clients.sound import AGENT, ALICE, PHONE, RATE, endlessly, hear_from, hears, strength
from tests.clients.test_bot import connected, is_in, together
from tests.support.endpoints import PATIENCE, UNLIMITED, new_name
from tests.support.relay import Relay
from tests.support.services import Backends, Server

pytestmark = pytest.mark.once


def name_of(bot: Bot) -> str:
    """Return the bot's username."""
    assert bot.client.session
    return bot.client.session.username


async def test_bots_in_a_conference_of_three_hear_each_other(start_bot: Start) -> None:
    alice, agent, carol = [await start_bot(new_name(name)) for name in ("alice", "agent", "carol")]
    one, two = await connected(alice, agent, "focus")
    endlessly(one, ALICE)
    endlessly(two, AGENT)
    await together(hears(one, AGENT), hears(two, ALICE))
    async with asyncio.timeout(PATIENCE):
        await alice.client.invite(one.conf_id, name_of(carol))
        three = await (await anext(carol.invitations())).answer()
    endlessly(three, PHONE)
    await together(
        hear_from(one, {two.me: AGENT, three.me: PHONE}),
        hear_from(two, {one.me: ALICE, three.me: PHONE}),
        hear_from(three, {one.me: ALICE, two.me: AGENT}),
    )
    assert await three.hold() == "accepted"
    assert (one.state, two.state) == ("open", "open")
    await two.hang_up()
    await is_in(one, "held")
    assert await three.resume() == "accepted"
    await together(hears(three, ALICE), hears(one, PHONE))


async def test_bot_plays_a_wav_file_of_any_rate(start_bot: Start, tmp_path: Path) -> None:
    path = tmp_path / "phone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(
            array("h", (round(9000 * math.sin(2 * math.pi * PHONE * (n // 2) / 44_100)) for n in range(88_200)))
        )
    alice, agent = await start_bot(new_name("alice")), await start_bot(new_name("agent"))
    one, two = await connected(alice, agent, "peer")
    began = asyncio.get_running_loop().time()
    await together(two.play_wav(path), hears(one, PHONE))
    assert 0.7 < asyncio.get_running_loop().time() - began < PATIENCE
    with pytest.raises(FileNotFoundError):
        await two.play_wav(tmp_path / "none.wav")


@asynccontextmanager
async def bots_of(clients: list[AsyncClient], *names: str) -> AsyncIterator[list[Bot]]:
    """Run a bot for each client."""
    async with AsyncExitStack() as stack:
        for client, name in zip(clients, names, strict=True):
            await stack.enter_async_context(client)
            await client.register(name)
        yield [await stack.enter_async_context(Bot(client, rate=RATE)) for client in clients]


@pytest.mark.parametrize("topology", ["peer", "focus"])
async def test_calls_go_on_over_a_restart_of_the_server(backends: Backends, tmp_path: Path, topology: str) -> None:
    """With `focus`, the media node restarts too: the new one offers a new connection."""
    with Server(backends.sqlite(), tmp_path, UNLIMITED) as server:
        clients = [AsyncClient(server.base_url, api_key=server.api_key) for _ in range(2)]
        async with bots_of(clients, "alice", "agent") as (alice, agent):
            one, two = await connected(alice, agent, topology)
            endlessly(one, ALICE)
            endlessly(two, AGENT)
            await together(hears(one, AGENT), hears(two, ALICE))
            await asyncio.to_thread(server.restart)
            await together(hears(one, AGENT), hears(two, ALICE))
            assert await one.hold() == "accepted"
            await is_in(two, "held")
            assert await one.resume() == "accepted"
            await together(hears(one, AGENT), hears(two, ALICE))


async def test_bot_compares_its_call_with_the_conference_after_a_gap(backends: Backends, tmp_path: Path) -> None:
    backend = backends.sqlite()
    with Server(backend, tmp_path, UNLIMITED) as server, Relay(server.port) as relay:
        clients = [
            AsyncClient(f"http://127.0.0.1:{port}", api_key=server.api_key) for port in (server.port, relay.port)
        ]
        async with bots_of(clients, "alice", "agent") as (alice, agent):
            one, two = await connected(alice, agent, "focus")
            changes: list[tuple[Callable[[], Awaitable[object]], str]]
            changes = [(one.hold, "held"), (one.resume, "open"), (one.hang_up, "ended")]
            for change, expected in changes:
                relay.stop()
                await change()
                backend.execute("DELETE FROM events_event")
                relay.start()
                await is_in(two, expected)
            assert two.end_reason == "conference-ended"


async def test_bot_offers_a_new_connection_when_its_connection_is_lost(start_bot: Start, server: Server) -> None:
    agent, page_name = await start_bot(new_name("agent")), new_name("page")
    async with AsyncClient(server.base_url, api_key=server.api_key) as page, AsyncExitStack() as stack:
        await page.register(page_name)
        events = await stack.enter_async_context(page.events())
        first, heard = connection(stack)
        await first.setLocalDescription(await first.createOffer())
        conference = await page.call(name_of(agent), Description.offer(first.localDescription.sdp), topology="peer")
        async with asyncio.timeout(2 * PATIENCE):
            call = await (await anext(agent.invitations())).answer()
            endlessly(call, AGENT)
            opened = await wait_for(events, "session-open")
            assert opened.description
            await first.setRemoteDescription(RTCSessionDescription(opened.description.sdp, "answer"))
            await together(heard.wait(), hears(call, PHONE))

            # The page closes its connection without a word on the event channel.
            await first.close()
            offered = await wait_for(events, "mod-received")
            second, heard = connection(stack)
            assert offered.description
            await second.setRemoteDescription(RTCSessionDescription(offered.description.sdp, "offer"))
            await second.setLocalDescription(await second.createAnswer())
            await page.accept(conference.id, offered.mod_id or "", Description.answer(second.localDescription.sdp))
            await together(heard.wait(), hears(call, PHONE))


def connection(stack: AsyncExitStack) -> tuple[RTCPeerConnection, asyncio.Event]:
    """Return a connection that sends a tone, and an event that is set when it hears the bot's tone."""
    pc, heard, playout = RTCPeerConnection(), asyncio.Event(), Playout(RATE)
    stack.push_async_callback(pc.close)
    pc.addTrack(PlayoutTrack(playout))
    playing = asyncio.create_task(playout.play(tone(PHONE, 60, RATE)))
    stack.callback(playing.cancel)

    async def listen(track: MediaStreamTrack) -> None:
        resampler, pcm = Resampler(RATE), b""
        with contextlib.suppress(MediaStreamError):
            while not heard.is_set():
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                pcm = (pcm + b"".join(resampler(frame)))[-2 * RATE // 10 :]
                if pcm and strength(pcm, AGENT) > 1000:
                    heard.set()

    listening: list[asyncio.Task[None]] = []
    pc.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
    return pc, heard


async def wait_for(events: EventStream, type_: str) -> Event:
    """Wait for an event of this type."""
    async for event in events:
        if event.type == type_:
            return event
    raise AssertionError("the events ended")
