"""The data channels of a conference: each leg with a data channel section has one SCTP association (RFC 8831)."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from media.focus.leg import Leg
from media.focus.participants import Participants, legs_of
from media.focus.relay import Budget, Relay
from media.focus.tiles import TILES
from media.sdp.media_section import Section
from media.transport.sctp import DataChannels


class Chat:
    """Opens and closes the associations of one conference, and relays their messages within the node's budget.

    `spawn` runs a coroutine in the background. It is used to close associations.
    """

    def __init__(
        self, participants: Participants, deliveries: Budget, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._participants = participants
        self._spawn = spawn
        self._relay = Relay(self._channels, deliveries)

    def update(self, leg: Leg) -> None:
        """Open a leg's association once the leg has a data channel section and is connected.

        Close the association if the leg no longer has such a section.
        """
        section = _data_section(leg)
        if section is None and leg.channels is not None:
            self._spawn(leg.channels.close())
            leg.channels = None
        elif section is not None and leg.channels is None and leg.is_connected and leg.transport is not None:
            leg.channels = DataChannels(
                leg.transport,
                section.sctp_port or 0,
                section.max_message_size or 0,
                partial(self._take, leg),
            )

    def _take(self, leg: Leg, channels: DataChannels, label: str, content: str | bytes) -> None:
        """Relay a message of a leg, unless it is for the node itself."""
        if label == TILES:
            leg.tiles.take(content)
        else:
            self._relay.take(channels, label, content)

    def _channels(self) -> list[DataChannels]:
        """Return the data channels of all legs that have an association."""
        return [leg.channels for leg in legs_of(self._participants) if leg.channels is not None]


def _data_section(leg: Leg) -> Section | None:
    """Return the leg's data channel section, if it has one."""
    return next((each for each in leg.layout.sections if each.sctp_port and not each.rejected), None)
