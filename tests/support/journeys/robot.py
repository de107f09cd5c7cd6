"""A participant without a browser: aiortc's own peer connection, which uses the enabler like any client."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack
from aiortc.sdp import SessionDescription
from av import AudioFrame, VideoFrame

from tests.support.endpoints import Endpoint, Event

# An aspect ratio that no other camera here has.
WIDTH, HEIGHT = 160, 80
_SAMPLE_RATE, _PITCH, _LOUDNESS = 48_000, 440, 8_000
# A frame counts as loud or bright above these values. A black picture has brightness 16.
_LOUD, _BRIGHT = 500, 20
_RECEIVING = {"sendrecv", "recvonly"}


class _Tone(AudioStreamTrack):
    """A continuous tone."""

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms."""
        pace = await super().recv()
        assert pace.pts is not None
        assert pace.time_base is not None
        count = _SAMPLE_RATE // 50
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        # The frequency is nearly a multiple of 50 Hz, so every frame can begin with the same phase.
        samples = (int(_LOUDNESS * math.sin(2 * math.pi * _PITCH * n / _SAMPLE_RATE)) for n in range(count))
        frame.planes[0].update(b"".join(each.to_bytes(2, "little", signed=True) for each in samples))
        frame.sample_rate, frame.time_base = _SAMPLE_RATE, Fraction(1, _SAMPLE_RATE)
        frame.pts = int(pace.pts * pace.time_base * _SAMPLE_RATE)
        return frame


class _Fading(VideoStreamTrack):
    """A grey picture that becomes brighter again and again."""

    async def recv(self) -> VideoFrame:
        """Return the next frame."""
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(width=WIDTH, height=HEIGHT, format="yuv420p")
        light = 100 + pts // 3000 % 100
        for plane, value in zip(frame.planes, (light, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


@dataclass
class Reception:
    """The decoded media of one track: how many frames were loud or bright."""

    lively: int = 0

    async def read(self, track: MediaStreamTrack) -> None:
        """Count frames until the track ends. A hold does not end it."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.lively += _is_loud(frame) if isinstance(frame, AudioFrame) else _is_bright(frame)


def _is_loud(frame: AudioFrame) -> bool:
    samples = memoryview(bytes(frame.planes[0])).cast("h")
    return max(samples) > _LOUD


def _is_bright(frame: Any) -> bool:
    lights = bytes(frame.planes[0])[::97]
    return sum(lights) / len(lights) > _BRIGHT


class Robot:
    """A participant in a conference, with a synthetic microphone and camera."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.username = endpoint.username
        self._endpoint = endpoint
        self.peer = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.peer.addTrack(_Tone())
        self.peer.addTrack(_Fading())
        # aiortc finds no receiver for an RTX packet if several sections have its payload type. It does receive packets
        # that are repeated unchanged.
        able = RTCRtpReceiver.getCapabilities("video")
        assert able is not None
        camera = next(line for line in self.peer.getTransceivers() if line.kind == "video")
        camera.setCodecPreferences([codec for codec in able.codecs if codec.name != "rtx"])
        self._conference = self._participant = ""
        self._received: dict[MediaStreamTrack, Reception] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._remote = ""
        # Chat messages of the others.
        self.read: list[str] = []
        self._chat = self.peer.createDataChannel("chat")
        self._chat.on("message", lambda text: self.read.append(json.loads(text)["text"]))
        self.peer.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        reception = self._received[track] = Reception()
        self._tasks.append(asyncio.create_task(reception.read(track)))

    async def answer(self) -> None:
        """Wait for an invitation, accept it, and answer all offers of the focus from then on."""
        invitation = await self._endpoint.wait_for_event("invitation-received")
        self._conference = invitation["confId"]
        participants = invitation["conference"]["participants"]
        self._participant = next(each["id"] for each in participants if each["username"] == self.username)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answered = await self._endpoint.put(self._conference, "conference-answer", self._local())
        assert answered.status_code == 204, answered.text
        self._tasks.append(asyncio.create_task(self._follow()))

    async def _follow(self) -> None:
        """Apply the answer to our own offer, and answer the offers of the focus."""
        after = 0
        while True:
            batch = (await self._endpoint.poll(after=after, wait=10)).json()
            after = batch["after"]
            for event in batch["events"]:
                if event["type"] == "mod-accepted":
                    await self._apply(event)
                elif event["type"] == "mod-received":
                    await self._accept(event)

    async def _apply(self, event: Event) -> None:
        self._remote = event["description"]["sdp"]
        await self.peer.setRemoteDescription(RTCSessionDescription(**event["description"]))

    async def _accept(self, event: Event) -> None:
        await self._apply(event)
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        body = {"modId": event["modId"], **self._local()}
        accepted = await self._endpoint.put(self._conference, "accept-conference-mod", body)
        assert accepted.status_code == 204, accepted.text

    def _local(self) -> dict[str, str]:
        """Return the current local description."""
        return {"type": self.peer.localDescription.type, "sdp": self.peer.localDescription.sdp}

    async def receptions(self) -> dict[tuple[str, str], Reception]:
        """Return the tracks that are received now, by username and label: `audio`, `video` or `screen`."""
        conference = (await self._endpoint.request("GET", f"/mediaConferences/{self._conference}")).json()
        names = {each["id"]: each["username"] for each in conference["participants"]}
        media = SessionDescription.parse(self._remote).media if self._remote else []
        named = {each.rtp.muxId: each.msid.split(" ") for each in media if each.msid}
        receiving = (line for line in self.peer.getTransceivers() if line.currentDirection in _RECEIVING)
        lines = {line.mid: self._received.get(line.receiver.track) for line in receiving}
        return {(names[owner], label): it for mid, (owner, label) in named.items() if (it := lines.get(mid))}

    async def offer(self, action: str, direction: str) -> None:
        """Offer a hold or a resume, which the focus accepts."""
        for line in self.peer.getTransceivers():
            line.direction = direction if line.sender.track else "recvonly"
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answered = await self._endpoint.put(self._conference, action, self._local())
        assert answered.status_code == 204, answered.text

    @property
    def chat_is_open(self) -> bool:
        """Whether chat messages can be sent."""
        return self._chat.readyState == "open"

    def say(self, text: str) -> None:
        """Send a chat message to all."""
        self._chat.send(json.dumps({"id": "1", "from": self._participant, "text": text}))

    def check(self) -> None:
        """Raise the errors of the background tasks."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """Close the connection and all its readers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peer.close()


@asynccontextmanager
async def robot(endpoint: Endpoint) -> AsyncIterator[Robot]:
    """Run a robot at an endpoint until the end of the block."""
    it = Robot(endpoint)
    try:
        yield it
    finally:
        await it.close()
