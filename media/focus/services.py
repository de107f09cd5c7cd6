"""The objects that all conferences of a node share."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from media.aiortc_adapter import Certificate
from media.focus.port import Port
from media.focus.relay import Budget
from media.reports import Connection, Notice, Sample, Verdict
from media.sdp.writer import LocalEnd
from media.transport.dtls import Handshakes

Outcome = TypeVar("Outcome")


class Reports(Protocol):
    """Receives the reports of conferences, on the node's loop."""

    def leg_lost(self, conference: str, participant: str, leg: str) -> None:
        """A leg has lost its connection. The conference has dropped the leg."""

    def speaker_changed(self, conference: str, participant: str) -> None:
        """This participant is now the active speaker."""

    def connection_changed(self, conference: str, participant: str, connection: Connection) -> None:
        """A participant's connection now has this quality."""

    def connection_judged(self, conference: str, participant: str, verdict: Verdict, since: float) -> None:
        """A participant's connection has had this quality since this time. The participant's log must record it."""

    def sampled(self, conference: str, samples: list[Sample]) -> None:
        """These are the samples of the last seconds, of one leg."""

    def noticed(self, conference: str, participant: str, notice: Notice) -> None:
        """This participant should get a notice. A later notice of the same subject replaces it."""


class Aside(Protocol):
    """Runs slow work (milliseconds) in another thread, while the loop continues.

    The work may change only the negotiation of one leg.
    """

    def __call__(self, work: Callable[[], Outcome]) -> Awaitable[Outcome]: ...


@dataclass(frozen=True)
class Services:
    """The node's port, certificate and clock, and everything else that its conferences share.

    `now` is the loop's clock, in seconds. `spawn` runs a coroutine in the background until it ends.
    """

    port: Port
    certificate: Certificate
    local: LocalEnd
    handshakes: Handshakes
    reports: Reports
    now: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    aside: Aside
    deliveries: Budget
