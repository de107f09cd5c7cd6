"""What both clients know about their session, without input and output."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sbe_client.errors import SbeError
from sbe_client.exchange import Exchange, Operation, T
from sbe_client.shapes import Session

# Bounds of the time between two refreshes, in seconds.
_SOONEST, _LATEST = 1.0, 3600.0
# Pages of a list that are read at most.
MOST_PAGES: Final = 1000


@dataclass
class Registration:
    """The enabler's address, the API key if there is one, and the session if one is registered."""

    enabler: str
    api_key: str | None = None
    session: Session | None = None

    def exchange(self, operation: Operation[T]) -> Exchange[T]:
        """Return the exchange of an operation, with the right credentials.

        :raises SbeError: when it needs an API key or a session that is not there.
        """
        if operation.request.by_application:
            if self.api_key is None:
                raise SbeError("This request needs the application's API key.")
            return Exchange(operation, self.enabler, f"Api-Key {self.api_key}")
        return Exchange(operation, self.enabler, f"Bearer {self.registered.token}")

    @property
    def registered(self) -> Session:
        """The session.

        :raises SbeError: when none is registered.
        """
        if self.session is None:
            raise SbeError("Register first.")
        return self.session

    def adopt(self, session: Session | Mapping[str, Any]) -> Session:
        """Use a new session: the enabler's answer, as an object or as JSON.

        :raises SbeError: when it has no token.
        """
        adopted = session if isinstance(session, Session) else Session.read(session)
        if not adopted.token:
            raise SbeError("The registered session has no token.")
        self.session = adopted
        return adopted

    def refreshed(self, session: Session) -> Session:
        """Take over a refreshed session, which has no token; return it."""
        self.session = replace(session, token=self.registered.token)
        return self.session


def half_of(session: Session) -> float:
    """Return half of the lifetime of a session, in seconds."""
    return min(max(session.lifetime / 2, _SOONEST), _LATEST)
