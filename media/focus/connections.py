"""Make, settle and drop the legs of a conference, and react to their events."""

from media.focus.chat import Chat
from media.focus.layout import Layout
from media.focus.leg import Leg
from media.focus.media_plan import MediaPlan
from media.focus.participants import Participant, Participants
from media.focus.routing import Routing
from media.focus.services import Services
from media.forward.tracks import Track
from media.sdp.codecs import takes_opus
from media.sdp.media_section import Section
from media.sdp.negotiation import Negotiation
from media.transport.dtls import Transport


class Connections:
    """The legs of one conference. The legs report their events to this object (`LegObserver`)."""

    def __init__(
        self, participants: Participants, services: Services, plan: MediaPlan, routing: Routing, chat: Chat
    ) -> None:
        self._participants = participants
        self._services = services
        self._plan = plan
        self._routing = routing
        self._chat = chat

    def new(self, id_: str, participant: str) -> Leg:
        """Return a new leg. Its peer cannot reach it before `settle`."""
        services = self._services
        return Leg(id_, participant, Negotiation(services.local), services.port, self, made_at=services.now())

    def settle(self, leg: Leg, layout: Layout) -> None:
        """Put the negotiated layout into effect. The processing time depends only on the changes."""
        before, leg.layout = leg.layout, layout
        participant, capabilities = self._participants[leg.participant], leg.negotiation.capabilities
        participant.informed = None
        participant.sent = frozenset(layout.published) or participant.sent
        participant.lacks_opus = "audio" in capabilities and not takes_opus(capabilities)
        self._routing.publish(leg.participant, layout.published.values())
        if before.published.keys() != layout.published.keys():
            self._plan.tracks_changed()
            self._routing.open_tracks()
        self._open_agent(leg)
        self._open_transport(leg)
        leg.expect()
        self._routing.interrupt(leg)
        self._chat.update(leg)
        self._routing.reroute(leg, before)

    def _open_agent(self, leg: Leg) -> None:
        """Make the leg reachable with the negotiated ICE credentials."""
        agents = self._services.port.agents
        local, remote = leg.negotiation.local_credentials, leg.negotiation.remote_credentials
        if leg.agent is None:
            leg.agent = agents.open(leg, local, remote)
        else:
            agents.restart(leg.agent, local, remote)

    def _open_transport(self, leg: Leg) -> None:
        """Make the leg's DTLS transport, once the leg's DTLS role is negotiated."""
        if leg.transport is None and leg.negotiation.role is not None:
            leg.transport = Transport(
                self._services.certificate,
                leg.negotiation.role,
                leg.send_datagram,
                handshakes=self._services.handshakes,
                on_state=leg.transport_is,
            )

    def drop(self, participant: Participant) -> None:
        """Close a participant's leg, if there is one. The participant's tracks stay."""
        leg, participant.leg = participant.leg, None
        if leg is None:
            return
        self._plan.tracks_changed()
        self._plan.codecs_changed()
        participant.informed = None
        self._routing.detach(leg)
        if leg.agent is not None:
            self._services.port.agents.close(leg.agent)
        self._services.spawn(leg.close())

    # --- Events of legs (`LegObserver`) -----------------------------------------------------------------------

    def connected(self, leg: Leg) -> None:
        """Give a newly connected leg its data channels and tracks."""
        self._chat.update(leg)
        self._routing.route(leg)
        self._routing.ask_for_key_frames()

    def disconnected(self, leg: Leg) -> None:
        """Stop sending to a leg whose connection has ended. A page that reloads gets a new leg."""
        self._routing.route(leg)

    def moved(self, leg: Leg) -> None:
        """Renew the leg's routes with its new address, or without GSO. At the first address, begin the handshake."""
        leg.begin()
        self._routing.route(leg)

    def track_of(self, leg: Leg, section: Section, rid: str) -> Track | None:
        """Return the track that a participant publishes with a section, or with one layer of the section."""
        return self._routing.layer(leg.participant, section, rid)

    def key_frame_wanted(self, leg: Leg, track: Track) -> None:
        """Ask the sender of a track for a key frame that a leg needs."""
        self._routing.request_key_frame(leg, track)

    def sender_reported(self, track: Track, ntp_time: int, timestamp: int) -> None:
        """Pass a sender report on to the track's receivers."""
        self._routing.forward_sender_report(track, ntp_time, timestamp)
