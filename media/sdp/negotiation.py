"""The SDP of a leg: offers and answers between one participant and the focus (RFC 3264, RFC 8829).

This module maps text to text and immutable tables, without a clock or a socket. The operations decide when each side
may make an offer. This module decides what a description says. The rules:

- One transport of an offer is served (rtcp-mux): the first one that can be served. Sections outside this transport, and
  sections that cannot be served, are answered with port 0. This does not affect other sections (RFC 3264 section 6).
- Media sections keep their order and never disappear. A rejected section may be used again, for the same kind.
- The transport's certificates and DTLS role do not change during the life of the leg. Only its ICE credentials change,
  when the participant restarts ICE.
- A track that a leg gets stays in its section. When the track has ended, nothing is sent there, and the section takes
  the next new track of its kind.
- A payload type or extension ID has the same meaning in all sections. The participant's newest description decides.
- The effect of an offer or answer is computed completely before anything is replaced. So a refusal changes nothing.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from media.credentials import Credentials, Fingerprint, new_credentials
from media.sdp.codecs import Agreed, Codec, Codecs, Shown, capabilities_of, read_capabilities, section_codecs, usable
from media.sdp.description import (
    Description,
    NegotiationError,
    NewAssociationError,
    ParsedSection,
    Remote,
    parse,
    read,
    read_answered_transport,
    read_transport,
    transports,
)
from media.sdp.media_section import Outgoing, Section, SectionState
from media.sdp.sections import (
    NO_NUMBERS,
    Numbers,
    answered_section,
    new_section,
    numbered,
    offered_sections,
    our_mid,
    place,
    read_numbers,
    restated,
)
from media.sdp.syntax import MAX_MEDIA_SECTIONS
from media.sdp.writer import LocalEnd, Role, write_body

__all__ = [
    "Agreed",
    "Codec",
    "Credentials",
    "Fingerprint",
    "LocalEnd",
    "Negotiation",
    "NegotiationError",
    "Outgoing",
    "Section",
    "new_credentials",
    "read_capabilities",
]

# Our role for each a=setup of the other side, and the a=setup that states our role (RFC 8842 section 5).
_ROLES: Mapping[str, Role] = {"active": "server", "passive": "client"}
# How many transports of an offer are tried.
_MOST_TRANSPORTS = 16
_SETUPS: Mapping[Role, str] = {"server": "passive", "client": "active"}


@dataclass(frozen=True)
class _Terms:
    """Everything that is settled, or would be settled if the pending offer were answered."""

    states: tuple[SectionState, ...]
    bundle: tuple[str, ...]
    numbers: Numbers
    credentials: Credentials
    remote: Remote | None
    role: Role | None
    capabilities: Mapping[str, Codecs]
    grows: bool = True  # false if the participant does not bundle: a new section would need a new transport
    shown: Shown = frozenset()  # what each section of the participant's last offer can carry
    declined: frozenset[str] = frozenset()  # tracks whose section the participant rejected; they are not offered again


class Negotiation:
    """The offers and answers of one leg. A new peer connection of the participant needs a new object.

    A refusal (NegotiationError, SdpError) changes nothing.
    """

    def __init__(
        self,
        local: LocalEnd,
        *,
        session_id: int | None = None,
        credentials: Callable[[], Credentials] = new_credentials,
    ) -> None:
        self._local = local
        self._session_id = session_id or secrets.randbits(62) + 1
        self._new_credentials = credentials
        self._terms = _Terms((), (), NO_NUMBERS, credentials(), remote=None, role=None, capabilities={})
        self._received: _Terms | None = None
        self._offered: _Terms | None = None
        # The terms and our own pending offer before the participant's last offer was answered.
        self._before: tuple[_Terms, _Terms | None] = self._terms, None
        self._mids = 0
        self._version = 0
        self._body = ""

    @property
    def sections(self) -> tuple[Section, ...]:
        """The media sections as settled, in their order; empty before the first answer."""
        return tuple(state.section for state in self._terms.states)

    @property
    def settled(self) -> bool:
        """Whether an offer has ever been answered, so that there is a transport to set up."""
        return self._terms.remote is not None

    @property
    def offering(self) -> bool:
        """Whether our own offer waits for its answer."""
        return self._offered is not None

    @property
    def received_labels(self) -> frozenset[str]:
        """The labels of the tracks that the participant's unanswered offer sends; empty without such an offer."""
        return _sent(self._received.states if self._received else ())

    @property
    def local_credentials(self) -> Credentials:
        """Our ICE credentials. They change when the participant restarts ICE."""
        return self._terms.credentials

    @property
    def remote_credentials(self) -> Credentials | None:
        """The participant's ICE credentials; None before anything is settled."""
        return self._terms.remote.credentials if self._terms.remote else None

    @property
    def remote_fingerprints(self) -> tuple[Fingerprint, ...]:
        """Fingerprints, one of which the participant's certificate must match. The certificate never changes."""
        return self._terms.remote.fingerprints if self._terms.remote else ()

    @property
    def role(self) -> Role | None:
        """Our DTLS role, which stays the same while the leg lives; None before anything is settled."""
        return self._terms.role

    @property
    def capabilities(self) -> Mapping[str, Codecs]:
        """The codecs that the participant can receive, by kind, as its last offer says.

        A kind is absent if the participant and the conference have no codec in common. The participant then gets no
        media of that kind, and does not restrict the codecs of others.
        """
        return self._terms.capabilities

    @property
    def shown(self) -> Shown:
        """The codecs that each media section of the participant's last offer can carry."""
        return self._terms.shown

    def receive_offer(self, text: str, others: Agreed) -> None:
        """Take the participant's offer. The caller must then settle it (`create_answer`) or forget it (`rollback`).

        :param others: the codecs on which all other participants agree.
        :raises SdpError: when the text is not a session description.
        :raises NegotiationError: when the leg cannot agree to the offer.
        """
        description = parse(text)
        failures: list[NegotiationError] = []
        for sections in self._transports(description):
            try:
                self._received = self._serving(description, sections, others)
                return
            except NewAssociationError:
                raise
            except NegotiationError as error:
                failures.append(error)
        raise next(iter(failures), NegotiationError("No media section of this offer can be served."))

    def _transports(self, description: Description) -> list[tuple[ParsedSection, ...]]:
        """Return the transports of an offer that may be served. A transport with already accepted sections is first."""
        known = set(_accepted(self._terms.states))
        found = transports(description)[:_MOST_TRANSPORTS]
        return sorted(found, key=lambda sections: known.isdisjoint(media.mid for media in sections))

    def _serving(self, description: Description, sections: Sequence[ParsedSection], others: Agreed) -> _Terms:
        """Return the terms that result if only the sections of this transport are served (RFC 3264 section 6).

        :raises NegotiationError: when the leg cannot agree to that.
        """
        terms = self._terms
        shown = capabilities_of(sections)
        capabilities = others.compatible(shown)
        carried = section_codecs(media for media in sections if media.kind in capabilities)
        agreed = others.joined_by(capabilities, carried).in_use()
        states = offered_sections(description, sections, terms.states, agreed)
        accepted = _accepted(states)
        if not accepted:
            # This raises an error that names the missing codecs.
            others.joined_by(shown)
        _require_tag(sections, accepted)
        remote = read_transport(description, sections)
        return _Terms(
            states=tuple(states),
            bundle=tuple(each.mid for each in sections if each.mid in accepted and each.mid in description.bundled),
            numbers=read_numbers(description, sections, terms.numbers),
            credentials=self._credentials_for(remote),
            remote=remote,
            role=self._role(remote, is_offer=True),
            capabilities=usable(capabilities),
            grows=bool(description.bundles) or [bool(media.mid) for media in description.live()] == [True],
            shown=carried,
        )

    def create_answer(self, outgoing: Sequence[Outgoing]) -> str:
        """Settle the received offer, and return the answer.

        Our own pending offer, if there is one, is rolled back (RFC 8829 section 4.1.10.2). Tracks for which the offer
        has no free section wait for `create_offer`.

        :raises NegotiationError: when there is no offer to answer.
        """
        received = self._received
        if received is None or received.role is None:
            raise NegotiationError("There is no offer to answer.")
        states, _ = place(received.states, outgoing)
        self._before = self._terms, self._offered
        self._terms = replace(received, states=tuple(states))
        self._received = self._offered = None
        return self._write(self._terms, _SETUPS[received.role])

    def create_offer(self, outgoing: Sequence[Outgoing], agreed: Agreed) -> str | None:
        """Return our offer, which is pending until it is answered; None if it would tell the participant nothing new.

        A track whose section the participant has rejected is left out until the participant makes an offer. A track is
        also left out if the leg can have no more sections.

        :raises NegotiationError: when an offer is pending already.
        """
        if self._offered or self._received:
            raise NegotiationError("There is an offer pending.")
        terms, agreed = self._terms, agreed.in_use()
        wanted = [track for track in outgoing if track.track not in terms.declined]
        numbers = numbered(terms.states, agreed, terms.numbers)
        states, waiting = place((restated(state, agreed, numbers.known) for state in terms.states), wanted)
        numbers = self._add(states, waiting, agreed, numbers) if terms.grows else numbers
        if not states or (self.settled and not _news(terms.states, states)):
            return None
        accepted = _accepted(states)
        bundle = [mid for mid in terms.bundle if mid in accepted]
        bundle += [mid for mid in accepted if mid not in bundle and terms.grows]
        offered = replace(terms, states=tuple(states), bundle=tuple(bundle), numbers=numbers)
        text = self._write(offered, "actpass")
        self._offered = offered
        return text

    def adopt(self, text: str, others: Agreed) -> None:
        """Adopt a participant whose node is gone, on the basis of the participant's last offer.

        After this, `create_offer` offers a new connection, and asks again for the media that the participant sent.

        :param others: the codecs on which all other participants agree.
        :raises SdpError: when the text is not a session description.
        :raises NegotiationError: when the leg cannot agree to the offer.
        """
        self.receive_offer(text, others)
        received, self._received = self._received, None
        if received is None:
            return
        states = tuple(state for state in received.states if not state.section.rejected)
        bundle = tuple(_accepted(states)) if received.grows else ()
        self._terms = replace(
            received, states=states, bundle=bundle, credentials=self._terms.credentials, remote=None, role=None
        )

    def receive_answer(self, text: str, *, may_change: bool = True) -> None:
        """Settle our pending offer with the participant's answer.

        :param may_change: whether the participant may send other tracks than before.
        :raises SdpError: when the text is not a session description.
        :raises NegotiationError: when the text does not answer our offer, or no offer is pending.
        """
        offered = self._offered
        if offered is None:
            raise NegotiationError("There is no offer for this answer.")
        description = read(text)
        states = _kept(self._terms.states, _answered(offered.states, description))
        if not may_change and _sent(states) != _sent(self._terms.states):
            raise NegotiationError("Too many answers have changed the sent tracks: make an offer instead.")
        remote = read_answered_transport(description)
        # If an answer has no a=setup, the answerer is active (RFC 4145 section 4). If an offer has none, we choose our
        # role, as browsers do.
        remote = replace(remote, setup=remote.setup or "active")
        if remote.setup == "actpass":
            raise NegotiationError("An answer must choose its DTLS role (a=setup).")
        if self.settled and remote.credentials != self.remote_credentials:
            raise NegotiationError("An answer cannot restart ICE: make an offer instead.")
        role = self._role(remote)
        accepted = _accepted(states)
        self._terms = replace(
            offered,
            states=tuple(states),
            bundle=tuple(mid for mid in description.bundle if mid in accepted),
            remote=remote,
            role=role,
            declined=offered.declined | _declined(offered.states, states),
        )
        self._offered = None

    def rollback(self) -> None:
        """Forget the pending offer: the participant's offer if it waits for our answer, otherwise our offer."""
        if self._received is not None:
            self._received = None
        else:
            self._offered = None

    def revoke(self) -> None:
        """Take back our last answer, which never reached the participant, as if there had been no offer.

        Our own offer that the answer rolled back is pending again. An offer that we have made since then is forgotten.
        """
        self._terms, self._offered = self._before
        self._received = None

    def _role(self, remote: Remote, *, is_offer: bool = False) -> Role:
        """Return our DTLS role for this transport. Once settled, neither the role nor the remote certificate changes.

        :raises NewAssociationError: when an offer begins another DTLS association.
        """
        before = self._terms
        if before.remote and not set(before.remote.fingerprints) & set(remote.fingerprints):
            if is_offer and remote.credentials != before.remote.credentials:
                raise NewAssociationError("Another certificate needs a new leg.")
            raise NegotiationError("The certificate has changed, which needs a new peer connection.")
        role = _ROLES.get(remote.setup, before.role or self._local.role)
        if before.role not in (None, role):
            raise NegotiationError("The DTLS role has changed, which needs a new peer connection.")
        return role

    def _credentials_for(self, remote: Remote) -> Credentials:
        """Return our ICE credentials: new ones if the other side has restarted ICE (RFC 8839 section 4.4.3)."""
        if self._terms.remote is None or self._terms.remote.credentials == remote.credentials:
            return self._terms.credentials
        return self._new_credentials()

    def _add(self, states: list[SectionState], tracks: Sequence[Outgoing], agreed: Agreed, numbers: Numbers) -> Numbers:
        """Add sections for the tracks, or reuse rejected sections of their kind. Return the extended `numbers`."""
        for track in tracks:
            state, numbers = new_section(track, self._free_mid(states), agreed, numbers)
            if state is None:
                continue
            rejected = (i for i, each in enumerate(states) if each.section.rejected and each.section.kind == track.kind)
            index = next(rejected, len(states))
            if index == MAX_MEDIA_SECTIONS:
                break
            states[index : index + 1] = [state]
        return numbers

    def _free_mid(self, states: Sequence[SectionState]) -> str:
        """Return a mid that no section has and that we have never used."""
        used = {state.section.mid for state in states}
        while True:
            self._mids += 1
            if (mid := our_mid(self._mids)) not in used:
                return mid

    def _write(self, terms: _Terms, setup: str) -> str:
        """Return the description. Its version rises if our last description was different (RFC 3264 section 8)."""
        body = write_body(terms.states, terms.bundle, self._local, terms.credentials, setup)
        if body != self._body:
            self._body = body
            self._version += 1
        return f"v=0\r\no=- {self._session_id} {self._version} IN IP4 127.0.0.1\r\n{body}"


def _require_tag(sections: Sequence[ParsedSection], accepted: Sequence[str]) -> None:
    """Require a section that can be the BUNDLE-tagged section of our answer (RFC 9143 section 7.3.1).

    Bundle-only sections have no transport except that of the group's first section. So the first section cannot be
    rejected if all accepted sections are bundle-only.
    """
    if not accepted:
        raise NegotiationError("No media section of this offer can be served.")
    tag = sections[0]
    if tag.mid not in accepted and not any(media.port for media in sections if media.mid in accepted):
        raise NegotiationError(
            f"The {tag.kind} section is the tagged one of its BUNDLE group, and it cannot be served."
        )


def _accepted(states: Sequence[SectionState]) -> list[str]:
    """Return the mids of the sections that are not rejected."""
    return [state.section.mid for state in states if not state.section.rejected]


def _sent(states: Sequence[SectionState]) -> frozenset[str]:
    """Return the labels of the tracks that the participant sends."""
    return frozenset(state.section.label for state in states if state.section.receiving)


def _news(before: Sequence[SectionState], now: Sequence[SectionState]) -> bool:
    """Tell whether these sections contain something that the participant does not know."""
    if len(before) != len(now):
        return True
    return any(
        old.says() != new.says() or (old.section.receiving and not new.section.receiving)
        for old, new in zip(before, now, strict=True)
        if old is not new
    )


def _answered(offered: Sequence[SectionState], description: Description) -> list[SectionState]:
    """Return the offered sections as the answer settles them."""
    if len(offered) != len(description.media):
        raise NegotiationError("The answer must have the offer's media sections, in their order, with their a=mid.")
    states = [
        answered_section(state, media, description) for state, media in zip(offered, description.media, strict=True)
    ]
    if all(state.section.rejected for state in states):
        raise NegotiationError("The answer rejects every media section.")
    return states


def _kept(before: Sequence[SectionState], now: Sequence[SectionState]) -> list[SectionState]:
    """Return the new sections. An unchanged section stays the same object, which saves the garbage collector time."""
    kept = [old if old == new else new for old, new in zip(before, now, strict=False)]
    return kept + list(now[len(before) :])


def _declined(offered: Sequence[SectionState], answered: Sequence[SectionState]) -> frozenset[str]:
    """Return the tracks whose sections the answer rejects."""
    return frozenset(
        old.section.outgoing.track
        for old, new in zip(offered, answered, strict=True)
        if old.section.outgoing and new.section.rejected
    )
