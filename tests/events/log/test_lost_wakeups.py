"""A lost wake-up between servers only delays an event."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.endpoints import UNLIMITED, Endpoints, events_until, next_event
from tests.support.services import Backend, Backends, Server, redis

Serve = Callable[..., Server]


@pytest.mark.once
async def test_lost_wake_ups_only_delay_events(
    serve: Serve, backends: Backends, endpoints: Endpoints, tmp_path: Path
) -> None:
    grown = backends.grown()
    apart = Backend({name: grown.variables[name] for name in ("DATABASE_URL", "SBE_STATIC_DIR")}, grown.api_key)
    # Without Redis, each process needs a state directory of its own.
    one, other = (
        serve(apart, **UNLIMITED, SBE_HEARTBEAT_SECONDS="0.5", SBE_STATE_DIR=str(tmp_path / name))
        for name in ("one", "other")
    )
    alice, bob, conference = await endpoints.call(one)
    async with bob.elsewhere(other).socket(after=1) as socket:
        for seq in (2, 4, 6):
            modified = await alice.modify(conference)
            assert (await next_event(socket))["modId"] == modified.headers["x-mod-id"]
            await alice.withdraw(conference, modified.headers["x-mod-id"])
            assert (await next_event(socket))["seq"] == seq + 1


@pytest.mark.once
async def test_events_continue_while_the_channel_layer_is_down(
    serve: Serve, backends: Backends, endpoints: Endpoints
) -> None:
    grown = backends.grown()
    with redis() as url:
        backend = Backend({**grown.variables, "REDIS_URL": url}, grown.api_key)
        server = serve(backend, **UNLIMITED, SBE_HEARTBEAT_SECONDS="0.5")
        alice, bob, conference = await endpoints.call(server)
        socket = await bob.socket(after=1)
        await alice.modify(conference)
        assert (await next_event(socket))["seq"] == 2
    # Redis has stopped. This task reads continuously, so that the socket answers the heartbeats in time.
    reading = asyncio.create_task(events_until(socket, 8))
    for _ in range(3):
        async with asyncio.timeout(5):
            pending = (await alice.request("GET", f"/mediaConferences/{conference}")).json()["pendingModifications"]
            withdrawn = await alice.withdraw(conference, pending[0]["modId"])
            assert withdrawn.status_code == 204, withdrawn.text
            modified = await alice.modify(conference)
            assert modified.status_code == 204, modified.text
    log_ = await bob.log()
    assert [event["seq"] for event in log_] == list(range(1, 9))
    assert await reading == log_[2:]
    await socket.close()
    async with bob.socket(after=6) as late:
        assert await events_until(late, 8) == log_[6:]
    # The server logs the outage only as a warning. Errors that the channel layer itself logs are ignored here.
    assert not [line for line in server.log().splitlines() if " ERROR " in line and " ERROR channels_redis" not in line]
