"""A client of the SBE Enabler: `Client` and `AsyncClient`. `sbe_client.bot` is a participant without a browser."""

from sbe_client.asynchronous import AsyncClient
from sbe_client.blocking import Client
from sbe_client.errors import (
    CallOver,
    ChannelReplaced,
    NetworkError,
    ProtocolError,
    Refusal,
    SbeError,
    SessionOver,
)
from sbe_client.shapes import Conference, Description, Event, Leaving, Modification, Participant, Session
from sbe_client.streaming import EventStream

__all__ = [
    "AsyncClient",
    "CallOver",
    "ChannelReplaced",
    "Client",
    "Conference",
    "Description",
    "Event",
    "EventStream",
    "Leaving",
    "Modification",
    "NetworkError",
    "Participant",
    "ProtocolError",
    "Refusal",
    "SbeError",
    "Session",
    "SessionOver",
]
