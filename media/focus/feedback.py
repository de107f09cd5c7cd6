"""The RTCP that a participant gets about its own streams: NACKs, key frame requests, limits and reports.

Nothing is sent here. Each method returns the packet to send.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping

from media.focus.sources import Source
from media.forward import rtcp
from media.forward.arrivals import Arrivals
from media.forward.streams import Stream
from media.forward.tracks import Track
from media.sdp.media_section import Section

# In bits per second. The lowest limit for one video.
LEAST_RATE = 150_000
# In bits per second. Each limit includes this rate for sound, in addition to the video.
AUDIO_RATE = 48_000
# In bits per second. This value means that there is no limit.
NO_LIMIT = 1 << 27


class Feedback:
    """Writes the feedback to one participant.

    `lost` is the share of that participant's packets lost recently, and `requested` how many were requested again.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self.requested = 0
        self._ssrc = secrets.randbits(32)
        self._cname = secrets.token_hex(8)
        # Whether feedback may be sent outside a compound packet (RFC 5506). All sections share one transport, so this
        # is true only if each section allows it.
        self._takes_reduced_size = False
        self._was_limited = False
        self._transport_feedbacks = 0

    def settle(self, sections: Iterable[Section]) -> None:
        """Adapt the form of the feedback to the settled sections."""
        media = [each for each in sections if each.codecs and not each.rejected]
        self._takes_reduced_size = all(each.reduced_size for each in media)

    def nack(self, stream: Stream, now: float) -> bytes | None:
        """Return a NACK for the packets of a stream that must be requested now; None if there are none."""
        lost = list(stream.due(now))
        self.requested += len(lost)
        return self._packet(rtcp.nack(self._ssrc, stream.ssrc, lost)) if lost else None

    def picture_loss(self, stream: Stream) -> bytes:
        """Ask for a key frame of a stream (PLI)."""
        return self._packet(rtcp.picture_loss(self._ssrc, stream.ssrc))

    def limit(
        self, sources: Iterable[Source], limits: Mapping[Track, float], rates: Mapping[Track, float]
    ) -> bytes | None:
        """Tell the participant how fast it may send its video (REMB). When a limit ends, send NO_LIMIT once.

        :param sources: the participant's streams and their tracks.
        :param limits: the new rate of each track that must be sent more slowly, in bits per second.
        :param rates: the current rate of every track, in bits per second.
        """
        tracks = {stream.ssrc: track for stream, track in sources if stream.original is None and stream.takes_limits}
        is_limited, was_limited = any(track in limits for track in tracks.values()), self._was_limited
        self._was_limited = is_limited
        if not (is_limited or was_limited):
            return None
        wanted = AUDIO_RATE + sum(max(LEAST_RATE, limits.get(track, rates[track])) for track in tracks.values())
        allowed = int(wanted) if is_limited else NO_LIMIT
        return self._packet(rtcp.bandwidth(self._ssrc, allowed, list(tracks)))

    def arrivals(self, sources: Mapping[int, Source], arrivals: Arrivals) -> Iterator[bytes]:
        """Report when the participant's packets arrived (transport-wide feedback)."""
        arrived = arrivals.take()
        while arrived is not None and sources:
            packet, reported = rtcp.transport_feedback(
                self._ssrc, next(iter(sources)), arrived, self._transport_feedbacks
            )
            self._transport_feedbacks += 1
            yield self._packet(packet)
            arrived = arrived.after(reported)

    def report(self, sources: Iterable[Source], now: float) -> bytes | None:
        """Report how the participant's streams arrive (receiver reports). Return None if no stream has arrived."""
        reports = [
            report for stream, _ in sources if stream.original is None and (report := stream.report(now)) is not None
        ]
        self.lost = max((report.fraction_lost for report in reports), default=0) / 256
        return rtcp.receiver_reports(self._ssrc, reports, cname=self._cname) if reports else None

    def _packet(self, feedback: bytes) -> bytes:
        """Wrap feedback in a compound packet, unless reduced size was negotiated (RFC 4585 section 3.1)."""
        if self._takes_reduced_size:
            return feedback
        return rtcp.receiver_reports(self._ssrc, [], cname=self._cname) + feedback
