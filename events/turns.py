"""Say when a request of the event channel has nothing left to do but wait.

The server lets the requests of one client network take turns (`sbe_enabler.turns`). One that waits needs no turn.
"""

from collections.abc import Callable
from typing import Any

# Where the server puts the function that ends the turn, in the scope of a request.
END_TURN = "sbe.end_turn"


def turn_end_of(scope: Any) -> Callable[[], None]:
    """Return the function that ends the turn of a request; it may be called several times."""
    end: Callable[[], None] = scope.get(END_TURN, _nothing)
    return end


def _nothing() -> None:
    """End no turn: nobody gave one."""
