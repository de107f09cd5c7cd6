"""Consent to receive media (RFC 7675): the addresses of a leg's peer, proved by the node's own checks.

The source address of a participant's check may be forged. So the node sends a check of its own to that address. The
answer must repeat a random transaction ID, which only a receiver at that address can know. Media goes only to an
address that has answered, and only that address can renew the consent. This module uses no clock and no socket.
"""

from dataclasses import dataclass

from media.allowance import Allowance

# Seconds from each check of a candidate to the next check. After the last interval, the candidate is given up.
RETRY_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
# Seconds from an answer of the address in use to the next check of that address.
CONSENT_SECONDS = 2.5
# Seconds between checks of the address in use while the last check has no answer.
MISSED_SECONDS = 1.0
# How many candidates of a leg are checked at the same time: the newest ones. A browser tries several addresses before
# it nominates one.
MOST_CANDIDATES = 4
# How many new candidates a leg may have: a burst of this many, then one per second.
MOST_MOVES = 8


@dataclass(slots=True)
class _Candidate:
    """An address to be proved: how many checks were sent to it, and the time at which the next check is due."""

    checks: int
    due_at: float


class Consent:
    """The candidates of one leg's peer, and the address in use.

    `proved_at` is the time at which the address in use last answered. Until an address has answered, it is the time at
    which the leg was made.
    """

    def __init__(self, made_at: float) -> None:
        self.proved_at = made_at
        self._in_use: bytes | None = None
        self._nominated: bytes | None = None
        self._due_at = made_at
        self._candidates: dict[bytes, _Candidate] = {}
        self._moves = Allowance(1.0, MOST_MOVES)

    def reach(self, name: bytes, now: float, *, nominated: bool) -> bool:
        """Record a valid check from a sockaddr. Return whether to send a check there now."""
        if nominated:
            self._nominated = name
        is_of_use = nominated or self._in_use is None
        if name == self._in_use or name in self._candidates or not is_of_use or not self._moves.take(1, now):
            return False
        self._candidates[name] = _Candidate(1, now + RETRY_SECONDS[0])
        if len(self._candidates) > MOST_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
        return True

    def prove(self, name: bytes, now: float) -> bool:
        """Record that a sockaddr has answered a check. Return whether media goes to this new address from now on."""
        is_candidate = self._candidates.pop(name, None) is not None
        moves = is_candidate and (self._in_use is None or name == self._nominated)
        if moves:
            self._in_use = name
        if name == self._in_use:
            self.proved_at, self._due_at = now, now + CONSENT_SECONDS
        return moves

    def due(self, now: float) -> list[bytes]:
        """Return the sockaddrs to which another check is due now. Candidates that do not answer are given up."""
        names = [name for name in list(self._candidates) if self._is_due(name, now)]
        if self._in_use is not None and now >= self._due_at:
            self._due_at = now + MISSED_SECONDS
            names.append(self._in_use)
        return names

    def _is_due(self, name: bytes, now: float) -> bool:
        """Tell whether a candidate gets another check now. If so, count the check."""
        candidate = self._candidates[name]
        if now < candidate.due_at:
            return False
        if candidate.checks == len(RETRY_SECONDS):
            del self._candidates[name]
            return False
        candidate.due_at = now + RETRY_SECONDS[candidate.checks]
        candidate.checks += 1
        return True
