"""The descriptions of a bot, for offers that aiortc cannot apply by itself."""

import re
from collections.abc import AsyncIterator

import pytest

from sbe_client import Description
from sbe_client.bot import sdp
from sbe_client.bot.audio import Playout
from sbe_client.bot.leg import Leg
from tests.support.descriptions import describe

pytestmark = pytest.mark.once


@pytest.fixture
async def leg() -> AsyncIterator[Leg]:
    """Return a new connection."""
    new = Leg(Playout(16_000), lambda frame: None, lambda: None, ())
    yield new
    await new.close()


def sections(description: Description) -> list[tuple[str, str]]:
    """Return the port's being zero, and the direction of each section."""
    media = sdp.split(description.sdp)[1]
    found = (re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)", each, re.MULTILINE) for each in media)
    return [
        ("rejected" if " 0 " in each.partition("\r")[0] else "live", direction[1] if direction else "")
        for each, direction in zip(media, found, strict=True)
    ]


async def test_bot_answers_video_as_inactive_and_rejects_what_it_cannot_use(leg: Leg) -> None:
    offered = describe(kinds=("audio", "video", "video", "video", "audio"), ports=(9, 9, 0, 9, 9))
    head, media = sdp.split(offered)
    media[3] = media[3].replace("VP8", "AV1")
    answer = await leg.answer(Description.offer(head + "".join(media)), holds=False)
    assert sections(answer) == [
        ("live", "sendrecv"),
        ("live", "inactive"),
        ("rejected", "inactive"),
        ("rejected", "inactive"),
        ("live", "recvonly"),
    ]
    assert "a=group:BUNDLE 0 1 4\r\n" in answer.sdp
    assert [sdp.mid_of(each) for each in sdp.split(answer.sdp)[1]] == ["0", "1", "2", "3", "4"]

    # An own offer on the same connection: the same sections and origin, with a higher version, and either DTLS role.
    hold = leg.offer(holds=True)
    assert [direction for _, direction in sections(hold)] == [
        "recvonly",
        "inactive",
        "inactive",
        "inactive",
        "recvonly",
    ]
    assert set(re.findall(r"a=setup:(\w+)", hold.sdp)) == {"actpass"}
    (first, one), (second, two) = (
        re.findall(r"^o=- (\d+) (\d+)", each.sdp, re.MULTILINE)[0] for each in (answer, hold)
    )
    assert first == second
    assert int(two) > int(one)


async def test_bot_on_hold_answers_without_sending(leg: Leg) -> None:
    answer = await leg.answer(Description.offer(describe(kinds=("audio",))), holds=True)
    assert sections(answer) == [("live", "recvonly")]


def test_participants_are_named_by_the_tracks_of_the_focus() -> None:
    text = describe(kinds=("audio", "video", "audio")).replace("a=msid:- track-2", "a=msid:p7 audio")
    assert sdp.owners_of(text) == {"2": "p7"}
