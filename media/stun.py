"""ICE-lite (RFC 8445 section 2.5): judge the STUN binding requests that reach the port. Pure: no clock, no socket.

Only who knows a leg's ICE password gets an answer. RFC 8489 section 9.1.3 would have a server say 400 or 401 to
others; they are met with silence, because such an answer goes to whatever address the sender has forged, cannot be
authenticated by its receiver, and tells a scanner which ufrags live.
"""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

Owner = TypeVar("Owner")
Address = tuple[Any, ...]


class Credentials(NamedTuple):
    ufrag: str
    password: str


def generate_credentials() -> Credentials:
    """Return new ICE credentials of our own (RFC 8445 section 5.3)."""
    raise NotImplementedError


class Agent(Generic[Owner]):
    """The ICE end of one leg: `owner`, and the credentials by which the other side may reach it.

    `last_check_at` is when the last valid check came (consent, RFC 7675), in the unit of the caller's `now`.
    """

    owner: Owner
    last_check_at: float | None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Owner]):
    """What a datagram means.

    `reply` goes back to where it came from. `agent` is who it reached, if it was a valid new check; then `nominated`
    says whether the other side wants its media to use this address (USE-CANDIDATE).
    """

    reply: bytes | None = None
    agent: Agent[Owner] | None = None
    nominated: bool = False


class Agents(Generic[Owner]):
    """The agents of a node, found by their ufrag."""

    def open(self, owner: Owner, local: Credentials, remote_ufrag: str | None = None) -> Agent[Owner]:
        """Make an agent. Without `remote_ufrag` any username of the other side is right, until `restart` states it."""
        raise NotImplementedError

    def restart(self, agent: Agent[Owner], local: Credentials, remote_ufrag: str | None = None) -> None:
        """Give an agent new credentials; the old ones stay good until the new ones are used.

        The same `local` again only states the other side's ufrag.
        """
        raise NotImplementedError

    def close(self, agent: Agent[Owner]) -> None:
        raise NotImplementedError

    def receive(self, datagram: bytes, source: Address, now: float) -> Verdict[Owner]:
        """Judge a STUN datagram from `source` (host, port, …). Never raises."""
        raise NotImplementedError
