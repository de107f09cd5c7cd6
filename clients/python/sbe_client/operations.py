"""The requests of the protocol as values (docs/protocol.md, sections 3, 4 and 6)."""

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from sbe_client.errors import ProtocolError
from sbe_client.exchange import Operation, Request, Response
from sbe_client.shapes import Conference, Description, Leaving, Participant, Session, read_all

Page = tuple[list[Session], str | None]
ConferencePage = tuple[list[Conference], str | None]


# --- Sessions ---------------------------------------------------------------------------------------------


def register(username: str, device: str | None, vtn: str | None, icmn: str | None) -> Operation[Session]:
    """Register a session with the API key."""
    body = _given(username=username, device=device, vtn=vtn, icmn=icmn)
    return Operation(Request("POST", "/sessions", body, by_application=True), _registered)


def refresh(session: Session) -> Operation[Session]:
    """Refresh a session. The answer has no token."""
    return Operation(Request("PUT", f"/sessions/{quote(session.id)}", {}), _session)


def unregister(session: Session) -> Operation[None]:
    """End a session."""
    return Operation(Request("DELETE", f"/sessions/{quote(session.id)}"), _nothing)


def sessions(username: str | None, after: str | None) -> Operation[Page]:
    """List live sessions with the API key, one page at a time."""
    request = Request("GET", "/sessions" + _query(username=username, after=after), by_application=True)
    return Operation(request, _sessions_page)


# --- Conferences ------------------------------------------------------------------------------------------


def conferences(state: str | None, missed: bool, after: str | None) -> Operation[ConferencePage]:
    """List conferences, one page at a time."""
    query = _query(state=state, missed="true" if missed else None, after=after)
    return Operation(Request("GET", "/mediaConferences" + query), _conferences_page)


def conference(conf_id: str) -> Operation[Conference]:
    """Read a conference."""
    return Operation(Request("GET", _path(conf_id)), _conference)


def call(
    to: Sequence[str], offer: Description, topology: str | None, name: str | None, access: str | None
) -> Operation[Conference]:
    """Start a conference."""
    body = _given(to=list(to), topology=topology, name=name, access=access) | offer.json()
    return Operation(Request("POST", "/mediaConferences", body), _conference)


def act(conf_id: str, action: str, description: Description) -> Operation[str | None]:
    """Answer an invitation or make an offer; read the ID of the modification, if there is one."""
    return _put(conf_id, action, description.json())


def settle(conf_id: str, action: str, mod_id: str, answer: Description | None = None) -> Operation[str | None]:
    """Accept, reject or cancel a modification."""
    return _put(conf_id, action, {"modId": mod_id, **(answer.json() if answer else {})})


def leave(conf_id: str) -> Operation[Leaving]:
    """End the own part, decline, or begin the move that a hold has armed."""
    return Operation(Request("DELETE", _path(conf_id)), lambda it: Leaving.read(it.json()))


# --- Participants -----------------------------------------------------------------------------------------


def invite(conf_id: str, to: str) -> Operation[Participant]:
    """Invite another user."""
    request = Request("POST", f"{_path(conf_id)}/participants", {"to": to})
    return Operation(request, lambda it: Participant.read(it.json()))


def remove(conf_id: str, participant: str) -> Operation[None]:
    """Remove a participant."""
    return Operation(Request("DELETE", f"{_path(conf_id)}/participants/{quote(participant)}"), _nothing)


def mute(conf_id: str, participant: str, audio: bool | None, video: bool | None) -> Operation[None]:
    """Mute or unmute."""
    path = f"{_path(conf_id)}/participants/{quote(participant)}/mute"
    return Operation(Request("PUT", path, _given(audio=audio, video=video)), _nothing)


# --- Reading ----------------------------------------------------------------------------------------------


def _put(conf_id: str, action: str, body: dict[str, Any]) -> Operation[str | None]:
    request = Request("PUT", _path(conf_id), body, {"x-conference-action": action})
    return Operation(request, _mod_id)


def _path(conf_id: str) -> str:
    return f"/mediaConferences/{quote(conf_id, safe='')}"


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _query(**parameters: str | None) -> str:
    given = _given(**parameters)
    return f"?{urlencode(given)}" if given else ""


def _session(response: Response) -> Session:
    return Session.read(response.json(), _date(response))


def _date(response: Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return None


def _registered(response: Response) -> Session:
    session = _session(response)
    if not session.token:
        raise ProtocolError("the new session has no token")
    return session


def _conference(response: Response) -> Conference:
    return Conference.read(response.json(), _mod_id(response))


def _mod_id(response: Response) -> str | None:
    return response.headers.get("x-mod-id")


def _nothing(response: Response) -> None:
    return None


def _sessions_page(response: Response) -> Page:
    return read_all(response.json(), "sessions", Session.read), _next(response)


def _conferences_page(response: Response) -> ConferencePage:
    return read_all(response.json(), "conferences", Conference.read), _next(response)


def _next(response: Response) -> str | None:
    following = response.json().get("next")
    return None if following is None else str(following)
