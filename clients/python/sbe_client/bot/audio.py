"""Audio as 20 ms frames of PCM: 16-bit, mono, little-endian."""

import asyncio
import math
from array import array
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

RATES: Final = (8_000, 16_000, 24_000, 48_000)
# Frames that wait at most: 1 s of heard audio, 200 ms of audio to play.
_HEARD, _TO_PLAY = 50, 10
_FRAME_SECONDS = 0.02
# A track that is this many seconds late skips them, instead of sending a burst.
_LATE = 0.2


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of one participant's audio. `participant` is the ID of the participant that speaks, if known."""

    pcm: bytes
    participant: str | None


class Heard:
    """The audio that waits for the application. When it is full, the oldest frame is dropped and counted."""

    def __init__(self) -> None:
        """Begin empty."""
        self.dropped = 0
        self._frames: deque[Frame] = deque()
        self._changed = asyncio.Event()
        self._over = False

    def put(self, frame: Frame) -> None:
        """Add a frame."""
        if len(self._frames) == _HEARD:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(frame)
        self._changed.set()

    def end(self) -> None:
        """Let the iteration end after the waiting frames."""
        self._over = True
        self._changed.set()

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield frames until the call ends."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._over:
                return
            self._changed.clear()
            await self._changed.wait()


class Playout:
    """The audio to send. Its tracks send silence while it is empty or paused."""

    def __init__(self, rate: int) -> None:
        """Begin empty. `rate` is in samples per second."""
        self.rate, self.paused = rate, False
        self._frame_bytes = 2 * rate // 50
        self._silence = bytes(self._frame_bytes)
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(_TO_PLAY)
        self._turn = asyncio.Lock()

    async def play(self, source: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Send all of the source, in chunks of any size. Returns when it has been sent. One source plays at a time."""
        async with self._turn:
            rest = bytearray()
            async for chunk in _each(source):
                rest += chunk
                while len(rest) >= self._frame_bytes:
                    await self._frames.put(bytes(rest[: self._frame_bytes]))
                    del rest[: self._frame_bytes]
            if rest:
                await self._frames.put(bytes(rest).ljust(self._frame_bytes, b"\0"))
            await self._frames.join()

    def clear(self) -> None:
        """Drop the frames that wait to be sent."""
        while not self._frames.empty():
            self._frames.get_nowait()
            self._frames.task_done()

    def next(self) -> bytes:
        """Return the next 20 ms to send."""
        if self.paused or self._frames.empty():
            return self._silence
        frame = self._frames.get_nowait()
        self._frames.task_done()
        return frame


class PlayoutTrack(MediaStreamTrack):
    """Sends a `Playout` in real time. Each peer connection needs a track of its own, because it stops its track."""

    kind = "audio"

    def __init__(self, playout: Playout) -> None:
        """Send this audio."""
        super().__init__()
        self._playout = playout
        self._due_at: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        """Return the next 20 ms when they are due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._pace()
        return self._frame(self._playout.next())

    async def _pace(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._due_at is None or now - self._due_at > _LATE:
            self._sent += int(self._playout.rate * (now - self._due_at)) if self._due_at else 0
            self._due_at = now
        await asyncio.sleep(max(0.0, self._due_at - now))
        self._due_at += _FRAME_SECONDS

    def _frame(self, pcm: bytes) -> av.AudioFrame:
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.time_base = self._playout.rate, Fraction(1, self._playout.rate)
        frame.pts = self._sent
        self._sent += len(pcm) // 2
        return frame


class Resampler:
    """Turns decoded frames into 20 ms of PCM."""

    def __init__(self, rate: int) -> None:
        """Produce this many samples per second."""
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate, frame_size=rate // 50)

    def __call__(self, frame: av.AudioFrame | None) -> Iterator[bytes]:
        """Yield the PCM that a frame completes; None flushes the rest, which may be shorter."""
        for each in self._resampler.resample(frame):
            yield bytes(each.planes[0])[: 2 * each.samples]


def tone(hertz: float, seconds: float, rate: int, volume: float = 0.3) -> Iterator[bytes]:
    """Yield a tone in chunks of 20 ms. `volume` is 0 to 1."""
    step, count = rate // 50, round(seconds * rate)
    for start in range(0, count, step):
        angles = (2 * math.pi * hertz * n / rate for n in range(start, min(start + step, count)))
        yield array("h", (round(32767 * volume * math.sin(angle)) for angle in angles)).tobytes()


def file(path: str | Path, rate: int) -> Iterator[bytes]:
    """Yield the audio of a WAV file, or of any other file that FFmpeg reads.

    :raises OSError: when it cannot be read.
    """
    resampler = Resampler(rate)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            yield from resampler(frame)
    yield from resampler(None)


async def _each(source: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(source, AsyncIterable):
        async for chunk in source:
            yield chunk
    else:
        for chunk in source:
            yield chunk
