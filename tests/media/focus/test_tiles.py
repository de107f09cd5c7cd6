"""A participant tells the sizes of its tiles. Whatever it sends, the node keeps a bounded and sound state."""

import json
from typing import Any

import pytest

from media.focus.tiles import MOST_CHARACTERS, MOST_SECTIONS, WIDEST, Tiles

pytestmark = pytest.mark.once

SOUND = {"1": 640, "2": 0, "3": 317.5}


def _after(*messages: str | bytes) -> Any:
    tiles = Tiles()
    for message in messages:
        tiles.take(message)
    return tiles.widths


def test_the_newest_message_counts() -> None:
    assert _after() == {}
    assert _after(json.dumps({"widths": {"9": 1}}), json.dumps({"widths": SOUND, "later": True})) == SOUND
    tiles = Tiles()
    tiles.take(json.dumps({"widths": SOUND}))
    assert tiles.widths == SOUND
    tiles.take(json.dumps({"widths": {}}))
    assert tiles.widths == {}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"widths": [1]}',
        '{"widths": {"1": "640"}}',
        '{"widths": {"1": true}}',
        '{"widths": {"1": null}}',
        '{"widths": {"1": {"1": 1}}}',
        '{"widths": {"1": -1}}',
        '{"widths": {"1": NaN}}',
        '{"widths": {"1": Infinity}}',
        '{"widths": {"1": 1e999}}',
        f'{{"widths": {{"1": {WIDEST + 1}}}}}',
        f'{{"widths": {{"1": 1{"0" * 5_000}}}}}',
        "[" * MOST_CHARACTERS,
        '{"widths":' * 1_000,
        json.dumps({"widths": {str(mid): 1 for mid in range(MOST_SECTIONS + 1)}}),
        json.dumps({"widths": {"1": 1}}) + " " * MOST_CHARACTERS,
        b'{"widths": {"1": 1}}',
    ],
    ids=lambda message: str(message)[:30],
)
def test_a_malformed_message_changes_nothing(message: str | bytes) -> None:
    tiles = Tiles()
    tiles.take(json.dumps({"widths": SOUND}))
    assert tiles.widths == SOUND
    tiles.take(message)
    assert tiles.widths == SOUND
