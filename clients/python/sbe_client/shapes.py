"""The shapes of the protocol (docs/protocol.md, sections 3 and 5) as frozen dataclasses.

`raw` keeps the whole JSON object, so fields that this version does not know are available there. A missing or wrong
member that the client needs is a `ProtocolError`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from sbe_client.errors import ProtocolError

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Description:
    """A session description, like `RTCPeerConnection.localDescription`."""

    type: Literal["offer", "answer"]
    sdp: str

    @classmethod
    def offer(cls, sdp: str) -> "Description":
        """Return an offer."""
        return cls("offer", sdp)

    @classmethod
    def answer(cls, sdp: str) -> "Description":
        """Return an answer."""
        return cls("answer", sdp)

    @classmethod
    def read(cls, data: Json) -> "Description":
        """Read a description."""
        return cls("offer" if text(data, "type") == "offer" else "answer", text(data, "sdp"))

    def json(self) -> dict[str, Any]:
        """Return the members of a request's body."""
        return {"type": self.type, "sdp": self.sdp}


@dataclass(frozen=True, slots=True)
class Session:
    """A registered endpoint. Only the answer to the registration has the `token`.

    `away` tells whether the session had a reader of its events and lost it.
    `lifetime` is the number of seconds from the answer until the session expires, by the server's clock if known.
    """

    id: str
    username: str
    state: str
    expires_at: datetime
    device: str | None
    vtn: str | None
    icmn: str | None
    token: str = field(repr=False)
    web_socket: str
    events_url: str
    ice_servers: tuple[Json, ...] = field(repr=False)
    raw: Json = field(repr=False, compare=False)
    lifetime: float = field(compare=False)
    away: bool = False

    @classmethod
    def read(cls, data: Json, now: datetime | None = None) -> "Session":
        """Read a session. `GET /sessions` lists sessions without addresses of events: these are then empty."""
        events = data.get("events")
        events = events if isinstance(events, Mapping) else {}
        expires_at = instant(text(data, "expiresAt"))
        return cls(
            id=text(data, "id"),
            username=text(data, "username"),
            state=text(data, "state"),
            expires_at=expires_at,
            device=optional_text(data, "device"),
            vtn=optional_text(data, "vtn"),
            icmn=optional_text(data, "icmn"),
            token=optional_text(data, "token") or "",
            web_socket=optional_text(events, "webSocket") or "",
            events_url=optional_text(events, "http") or "",
            ice_servers=tuple(read_all(data, "iceServers", dict)),
            raw=data,
            lifetime=(expires_at - (now or datetime.now(UTC))).total_seconds(),
            away=bool(data.get("away")),
        )


@dataclass(frozen=True, slots=True)
class Participant:
    """One user in one conference. A move changes `session_id` and `device`; the participant stays the same.

    `away` tells whether its page closes or reloads. `reachable` is how many devices ring and are not away; only the
    answers to `call` and `invite` have it.
    """

    id: str
    username: str
    role: str
    state: str
    session_id: str | None
    device: str | None
    muted_audio: bool
    muted_video: bool
    left_reason: str | None
    raw: Json = field(repr=False, compare=False)
    away: bool = False
    reachable: int | None = field(default=None, compare=False)

    @classmethod
    def read(cls, data: Json) -> "Participant":
        """Read a participant."""
        muted = data.get("muted")
        muted = muted if isinstance(muted, Mapping) else {}
        return cls(
            id=text(data, "id"),
            username=text(data, "username"),
            role=text(data, "role"),
            state=text(data, "state"),
            session_id=optional_text(data, "sessionId"),
            device=optional_text(data, "device"),
            muted_audio=bool(muted.get("audio")),
            muted_video=bool(muted.get("video")),
            left_reason=optional_text(data, "leftReason"),
            raw=data,
            away=bool(data.get("away")),
            reachable=reachable if isinstance(reachable := data.get("reachable"), int) else None,
        )


@dataclass(frozen=True, slots=True)
class Modification:
    """An offer that is not settled yet. `from_id` and `to_id` are IDs of participants, or `focus`."""

    mod_id: str
    kind: str
    from_id: str
    to_id: str
    state: str
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, data: Json) -> "Modification":
        """Read a modification."""
        return cls(
            mod_id=text(data, "modId"),
            kind=text(data, "kind"),
            from_id=text(data, "from"),
            to_id=text(data, "to"),
            state=text(data, "state"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Conference:
    """A call. `mod_id` is the modification that the request made; only the answer to `call` has it."""

    id: str
    topology: str
    access: str
    name: str | None
    state: str
    participants: tuple[Participant, ...]
    pending: tuple[Modification, ...]
    raw: Json = field(repr=False, compare=False)
    mod_id: str | None = None

    @classmethod
    def read(cls, data: Json, mod_id: str | None = None) -> "Conference":
        """Read a conference."""
        return cls(
            id=text(data, "id"),
            topology=text(data, "topology"),
            access=text(data, "access"),
            name=optional_text(data, "name"),
            state=text(data, "state"),
            participants=tuple(read_all(data, "participants", Participant.read)),
            pending=tuple(read_all(data, "pendingModifications", Modification.read)),
            raw=data,
            mod_id=mod_id,
        )


@dataclass(frozen=True, slots=True)
class Leaving:
    """The effect of a `DELETE`: `outcome` is `declined`, `left`, `terminated` or `moving`.

    `move_refused` (`no-other-device` or `window-over`) tells why an armed move ended the participation instead.
    `rings_until` tells when the other devices stop ringing.
    """

    outcome: str
    move_refused: str | None
    rings_until: datetime | None
    conference: Conference

    @classmethod
    def read(cls, data: Json) -> "Leaving":
        """Read the answer to a `DELETE`."""
        until = optional_text(data, "ringsUntil")
        return cls(
            outcome=text(data, "outcome"),
            move_refused=optional_text(data, "moveRefused"),
            rings_until=instant(until) if until else None,
            conference=Conference.read(data),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A message to the session. The properties read members that only some types of events have.

    `seq` numbers the stored events of a session without gaps. It is None for `gap`, `active-speaker` and `quality`.
    """

    type: str
    seq: int | None
    conf_id: str | None
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls, data: Json) -> "Event":
        """Read an event of any type, also of a type that this version does not know."""
        seq = data.get("seq")
        if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool)):
            raise ProtocolError("an event's seq is not a number")
        return cls(text(data, "type"), seq, optional_text(data, "confId"), data)

    @property
    def mod_id(self) -> str | None:
        """The modification that the event is about."""
        return optional_text(self.raw, "modId")

    @property
    def kind(self) -> str | None:
        """The purpose of an offer: `call`, `mod`, `hold`, `resume`, `move` or `sync`."""
        return optional_text(self.raw, "kind")

    @property
    def reason(self) -> str | None:
        """Why something ended or rings."""
        return optional_text(self.raw, "reason")

    @property
    def restart(self) -> bool:
        """Whether the offer needs a new peer connection."""
        return bool(self.raw.get("restart"))

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is still kept (`gap`)."""
        oldest = self.raw.get("oldest")
        return oldest if isinstance(oldest, int) else 1

    @property
    def description(self) -> Description | None:
        """The offer or the answer."""
        return self._optional("description", Description.read)

    @property
    def participant(self) -> Participant | None:
        """The participant that the event is about. `active-speaker` and `quality` have only an ID: see `raw`."""
        return self._optional("participant", Participant.read)

    @property
    def conference(self) -> Conference | None:
        """The conference when the event was written."""
        return self._optional("conference", Conference.read)

    @property
    def from_id(self) -> str | None:
        """The ID of the participant that is the origin, or `focus`."""
        origin = self.raw.get("from")
        return optional_text(origin, "participant") if isinstance(origin, Mapping) else None

    def _optional(self, name: str, read: Callable[[Json], T]) -> T | None:
        value = self.raw.get(name)
        return read(value) if isinstance(value, Mapping) else None


def text(data: Json, name: str) -> str:
    """Return a member that must be a string.

    :raises ProtocolError: when it is none.
    """
    value = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is not a string")
    return value


def optional_text(data: Json, name: str) -> str | None:
    """Return a member if it is a string, otherwise None."""
    value = data.get(name)
    return value if isinstance(value, str) else None


def instant(value: str) -> datetime:
    """Read an instant (RFC 3339).

    :raises ProtocolError: when it is none.
    """
    try:
        read = datetime.fromisoformat(value)
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    except ValueError as error:
        raise ProtocolError(f"{value[:40]!r} is no instant") from error


def read_all(data: Json, name: str, read: Callable[[Json], T]) -> list[T]:
    """Read a list of objects. A missing list is empty.

    :raises ProtocolError: when it is no list of objects.
    """
    items = data.get(name) or []
    if not isinstance(items, list) or not all(isinstance(each, Mapping) for each in items):
        raise ProtocolError(f"{name} is not a list of objects")
    return [read(each) for each in items]
