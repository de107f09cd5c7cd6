"""End the turn of a request that, from now on, only waits for events.

The requests of one client network take turns (`sbe_enabler.turns`). A request that waits for events must not hold its
turn.
"""

from collections.abc import Callable
from typing import Any

# The key in a request's ASGI scope under which the server puts the function that ends the turn.
END_TURN = "sbe.end_turn"


def turn_end_of(scope: Any) -> Callable[[], None]:
    """Return the function that ends the turn of a request. It may be called several times."""
    end: Callable[[], None] = scope.get(END_TURN, _nothing)
    return end


def _nothing() -> None:
    """Do nothing: the server did not give this request a turn."""
