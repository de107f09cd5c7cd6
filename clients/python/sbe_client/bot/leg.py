"""One peer connection of a bot, on aiortc."""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from sbe_client.bot import sdp
from sbe_client.bot.audio import Frame, Playout, PlayoutTrack, Resampler
from sbe_client.shapes import Description

logger = logging.getLogger(__name__)

# Seconds that gathering candidates and applying a description may take.
_NEGOTIATING = 10.0
_CLOSING = 5.0


class Leg:
    """A peer connection that sends and receives audio. Video is answered `inactive`, so nothing decodes it.

    aiortc has no rollback. So an offer on a running connection is applied only together with its answer.
    """

    def __init__(
        self,
        playout: Playout,
        heard: Callable[[Frame], None],
        failed: Callable[[], None],
        ice_servers: Iterable[Mapping[str, Any]],
    ) -> None:
        """Prepare a connection. `heard` gets each received frame; `failed` is called when the connection is lost."""
        servers = [_ice_server(each) for each in ice_servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.chat: RTCDataChannel | None = None
        self._playout, self._heard, self._failed = playout, heard, failed
        self._id, self._versions = secrets.randbits(62), itertools.count(2)
        self.pc.addTrack(PlayoutTrack(playout))
        (self._own,) = self.pc.getTransceivers()
        self._owners: Mapping[str, str] = {}
        self._rejected: frozenset[int] = frozenset()
        self._readers: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.remote_ufrag: str | None = None
        self.pc.on("track", self._on_track)
        self.pc.on("connectionstatechange", self._on_state)

    def open_chat(self) -> RTCDataChannel:
        """Add the data channel whose messages the focus relays. Call it before the first offer."""
        self.chat = self.pc.createDataChannel("chat")
        return self.chat

    # --- Offers and answers -----------------------------------------------------------------------------

    async def first_offer(self, *, holds: bool) -> Description:
        """Return the offer of a new connection. It is applied already."""
        self._own.direction = "recvonly" if holds else "sendrecv"
        async with asyncio.timeout(_NEGOTIATING):
            await self.pc.setLocalDescription(await self.pc.createOffer())
        return Description.offer(self._outgoing(self.pc.localDescription.sdp))

    def offer(self, *, holds: bool) -> Description:
        """Return an offer on a running connection. It is applied by `take_answer`."""
        described = SessionDescription.parse(self.pc.localDescription.sdp)
        lines = {line.mid: line for line in self.pc.getTransceivers()}
        for media in described.media:
            if media.dtls is not None:
                media.dtls.role = "auto"
            if media.rtp.muxId in lines:
                media.direction = self._direction(lines[media.rtp.muxId], holds)
        return Description.offer(self._outgoing(str(described)))

    async def take_answer(self, offer: Description, answer: Description, *, holds: bool) -> None:
        """Apply the own offer, if that is not done yet, and its answer."""
        async with asyncio.timeout(_NEGOTIATING):
            if self.pc.signalingState != "have-local-offer":
                applicable, _ = sdp.usable(offer.sdp)
                await self.pc.setLocalDescription(RTCSessionDescription(applicable, "offer"))
            await self._apply(answer)
        self._turn_to(holds)

    async def answer(self, offer: Description, *, holds: bool) -> Description:
        """Apply the other side's offer; return the answer, which is applied as well."""
        async with asyncio.timeout(_NEGOTIATING):
            self._rejected = await self._apply(offer)
            self._turn_to(holds)
            await self.pc.setLocalDescription(await self.pc.createAnswer())
        return Description.answer(self._outgoing(self.pc.localDescription.sdp))

    async def _apply(self, description: Description) -> frozenset[int]:
        applicable, rejected = sdp.usable(description.sdp)
        self._owners = sdp.owners_of(description.sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(applicable, description.type))
        self.remote_ufrag = sdp.ufrag_of(description.sdp)
        return rejected

    def _turn_to(self, holds: bool) -> None:
        for line in self.pc.getTransceivers():
            line.direction = self._direction(line, holds)

    def _direction(self, line: RTCRtpTransceiver, holds: bool) -> str:
        if line.kind == "video":
            return "inactive"
        return "sendrecv" if line is self._own and not holds else "recvonly"

    def _outgoing(self, text: str) -> str:
        return sdp.rejecting(sdp.numbered(text, self._id, next(self._versions)), self._rejected)

    # --- Media ------------------------------------------------------------------------------------------

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            task = asyncio.create_task(self._read(track), name="sbe-bot-audio")
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)

    async def _read(self, track: MediaStreamTrack) -> None:
        resampler = Resampler(self._playout.rate)
        line = next(each for each in self.pc.getTransceivers() if each.receiver.track is track)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, av.AudioFrame):
                    for pcm in resampler(frame):
                        self._heard(Frame(pcm, self._owners.get(line.mid or "")))

    def _on_state(self) -> None:
        state = self.pc.connectionState
        logger.info("The bot's connection is %s", state)
        if state in {"failed", "closed"} and self._closing is None:
            self._failed()

    async def close(self) -> None:
        """Close the connection. May be repeated, and interrupted: the connection closes all the same."""
        if self._closing is None:
            for task in self._readers:
                task.cancel()
            self._closing = asyncio.create_task(self.pc.close(), name="sbe-bot-close")
        await asyncio.wait({self._closing}, timeout=_CLOSING)


def _ice_server(given: Mapping[str, Any]) -> RTCIceServer:
    return RTCIceServer(urls=given["urls"], username=given.get("username"), credential=given.get("credential"))
