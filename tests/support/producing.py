"""A conference that produces events."""

from collections.abc import Callable
from typing import Any

from tests.support.endpoints import Endpoint
from tests.support.services import Server

Serve = Callable[..., Server]


async def produce(sender: Endpoint, conference: str, rounds: int, *, characters: int = 0) -> None:
    """Make and cancel this many offers. Each of these rounds gives the other side two events."""
    for _ in range(rounds):
        offered = await sender.modify(conference, characters=characters)
        assert offered.status_code == 204, offered.text
        cancelled = await sender.withdraw(conference, offered.headers["x-mod-id"])
        assert cancelled.status_code == 204, cancelled.text


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the events."""
    return [event["seq"] for event in events]
