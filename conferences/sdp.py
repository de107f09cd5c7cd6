"""Validate session descriptions: each by itself and against its request's action, and an answer against its offer.

In `peer` topology a valid description is forwarded byte for byte.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from conferences.exceptions import SdpDirectionError, SdpInvalidError
from events.exceptions import TooLargeError
from media.sdp.description import Description, ParsedSection, parse, transports
from media.sdp.syntax import SdpError

SDP_LIMIT = 512 * 1024  # bytes

_HOLD_DIRECTIONS = frozenset({"recvonly", "sendonly", "inactive"})
# The directions that may answer each offered direction (RFC 3264 section 6.1).
_ANSWERS = {
    "sendrecv": frozenset({"sendrecv", "sendonly", "recvonly", "inactive"}),
    "sendonly": frozenset({"recvonly", "inactive"}),
    "recvonly": frozenset({"sendonly", "inactive"}),
    "inactive": frozenset({"inactive"}),
}


class DirectionRule(Enum):
    """The directions that an action requires of live audio and video sections (protocol section 4)."""

    ANY = "any"
    HOLD = "hold"


@dataclass(frozen=True)
class ValidatedSdp:
    """A valid session description: its text as received, and the parsed content.

    `type` is "offer" or "answer". It is empty for a bare SDP in a request that may carry either type.
    """

    type: str
    text: str
    content: Description


def validate(type_: str, text: str) -> ValidatedSdp:
    """Parse a session description and return it, if it is valid by itself.

    :raises TooLargeError: when it exceeds 512 KiB in UTF-8.
    :raises SdpInvalidError: when it is not well-formed or has no media section, when a live section lacks ICE
        credentials or a DTLS fingerprint, or when a codec with parameters has no name.
    """
    # A text has at least as many bytes as characters. So a text with too many characters is refused without encoding
    # it.
    if len(text) > SDP_LIMIT or len(text.encode(errors="surrogatepass")) > SDP_LIMIT:
        raise TooLargeError("The SDP is too large.", limit=SDP_LIMIT)
    try:
        content = parse(text)
        _require_keys(content)
        _require_names(content)
    except SdpError as error:
        raise SdpInvalidError(f"The SDP is invalid. {error}") from error
    if not content.media:
        raise SdpInvalidError("The SDP has no media section.")
    return ValidatedSdp(type=type_, text=text, content=content)


def _require_keys(content: Description) -> None:
    """Require that each live section has ICE credentials and a DTLS fingerprint, or shares those of its bundle."""
    for section in _transport_owners(content):
        if not content.has_ice(section):
            raise SdpInvalidError(f"The {section.kind} section has no ICE credentials (a=ice-ufrag, a=ice-pwd).")
        if not content.has_fingerprint(section):
            raise SdpInvalidError(f"The {section.kind} section has no DTLS fingerprint (a=fingerprint).")


def _require_names(content: Description) -> None:
    """Require a name (a=rtpmap) for each codec with parameters: browsers reject the description otherwise."""
    for media in content.media:
        if media.is_rtp and (nameless := media.nameless_codecs()):
            raise SdpInvalidError(f"Payload type {nameless.pop()} has parameters, but no name (a=rtpmap).")


def _transport_owners(content: Description) -> Iterator[ParsedSection]:
    """Yield the live sections that must have ICE credentials and a fingerprint.

    In a bundle it is enough that one section has both (RFC 9143 section 7.1.3).
    """
    group_of = {mid: group for group in content.bundles for mid in group}
    # Browsers reject sections that are neither RTP nor data channels, so such sections need no ICE credentials.
    connected = [section for section in content.live() if section.is_rtp or section.kind == "application"]
    live = connected or content.live()
    shared = {
        group_of.get(section.mid) for section in live if content.has_ice(section) and content.has_fingerprint(section)
    }
    for section in live:
        if section.mid not in group_of or group_of[section.mid] not in shared:
            yield section


def require_direction(sdp: ValidatedSdp, rule: DirectionRule) -> None:
    """Require that the live audio and video sections have directions that the rule allows.

    :raises SdpDirectionError: when they do not.
    """
    directions = _directions(sdp.content)
    if rule is DirectionRule.HOLD and not _HOLD_DIRECTIONS.issuperset(directions):
        raise SdpDirectionError("On hold, every audio and video section must be recvonly, sendonly or inactive.")


def directions_of(description: Description) -> str:
    """Return the distinct directions of the live audio and video sections, or "inactive" if there are none."""
    return " ".join(sorted(_directions(description))) or "inactive"


def media_of(description: Description) -> str:
    """Return the media that the writer of a description sends: words of "audio", "screen" and "video", sorted."""
    sent = (section for section in description.live() if section.is_rtp and section.sends)
    return " ".join(sorted({"screen" if each.kind == "video" and each.shows_slides else each.kind for each in sent}))


def require_resume(sdp: ValidatedSdp, before: str, *, listens: bool) -> None:
    """Require that an offer restores the directions from before the hold.

    :param before: those directions, as `directions_of` returned them. Empty means unknown, and counts as sendrecv.
    :param listens: whether the participant must also receive again. It is False in `focus` topology, where the focus
        decides what the participant receives.
    :raises SdpDirectionError: when the offer does not restore them.
    """
    now, was = _directions(sdp.content), set((before or "sendrecv").split()) - {"inactive"}
    if not listens:
        was -= {"recvonly"}
    if "sendrecv" in now or was <= now:
        return
    if "sendrecv" in was:
        raise SdpDirectionError("To resume, at least one media section must be sendrecv.")
    raise SdpDirectionError(f"To resume, media sections must be {' and '.join(sorted(was))}, as before the hold.")


def _directions(description: Description) -> set[str]:
    """Return the directions of the live audio and video sections."""
    return {section.direction for section in description.live() if section.is_rtp}


def require_fit(answer: ValidatedSdp, offer: Description) -> None:
    """Require that the answer fits the offer, section by section (RFC 3264 section 6).

    :raises SdpInvalidError: when sections are missing, added, renamed or of another kind, when a disabled section is
        accepted, or when the DTLS roles or BUNDLE groups do not fit.
    :raises SdpDirectionError: when a direction cannot answer the offered one.
    """
    offered, answered = offer.media, answer.content.media
    if [section.kind for section in offered] != [section.kind for section in answered]:
        raise SdpInvalidError("The answer must have the media sections of the offer, in the same order.")
    for offered_section, answered_section in zip(offered, answered, strict=True):
        # RFC 9143 section 7.3.1: an answer keeps the offer's identification tags.
        if offered_section.mid and answered_section.mid not in {"", offered_section.mid}:
            raise SdpInvalidError(f"The answer gives the media section '{offered_section.mid}' another name (a=mid).")
        if not answered_section.live:
            continue
        if not offered_section.live:
            raise SdpInvalidError("The answer accepts a media section that the offer disables (port 0).")
        if answered_section.is_rtp and answered_section.direction not in _ANSWERS[offered_section.direction]:
            raise SdpDirectionError(
                f"The direction {answered_section.direction} cannot answer {offered_section.direction}."
            )
    _require_applicable(answer.content, offer)


def _require_applicable(answer: Description, offer: Description) -> None:
    """Require that browsers can apply the answer: it chooses DTLS roles, and its BUNDLE groups were offered."""
    pairs = list(zip(offer.media, answer.media, strict=True))
    # The key is the identity of the section object, because a section may have no mid.
    offered_roles = {id(theirs): offer.stated(ours, "setup") for ours, theirs in pairs}
    for tag, *_ in transports(answer):
        role = answer.stated(tag, "setup")
        if role in ("actpass", "holdconn"):
            raise SdpInvalidError("An answer must choose its DTLS role: active or passive (a=setup).")
        if role and role == offered_roles[id(tag)]:
            raise SdpInvalidError(f"The answer has the same DTLS role as the offer: {role} (a=setup).")
    accepted = {theirs.mid or ours.mid for ours, theirs in pairs if theirs.port != 0}
    if missing := answer.bundled - accepted:
        raise SdpInvalidError(f"The answer's BUNDLE group names {min(missing)!r}, which is absent or rejected.")
    _require_offered_groups(answer, offer)


def _require_offered_groups(answer: Description, offer: Description) -> None:
    """Require that each BUNDLE group of the answer is part of a different offered group (RFC 9143 section 7.3)."""
    offered = {mid: group for group in offer.bundles for mid in group}
    answered = [{offered.get(mid) for mid in group} for group in answer.bundles if group]
    if any(len(groups) > 1 or None in groups for groups in answered):
        raise SdpInvalidError("The answer's BUNDLE group has sections that were not offered in one group.")
    if len(answered) > len(set().union(*answered)):
        raise SdpInvalidError("The answer divides an offered BUNDLE group.")


def require_progress(sdp: ValidatedSdp, last_origin: str) -> None:
    """Require that the o= version is not lower than in the same leg's last description (RFC 3264 section 8).

    :raises SdpInvalidError: when the version is lower.
    """
    session_id, _, version = last_origin.partition(" ")
    if session_id == sdp.content.session_id and sdp.content.version < int(version):
        raise SdpInvalidError("The version in the o= line of the SDP is lower than in the last description.")


def is_another_connection(sdp: ValidatedSdp, last_origin: str, last_ufrag: str) -> bool:
    """Tell whether an offer comes from another peer connection than the same leg's last description.

    A peer connection keeps the session ID of its o= line (RFC 8829 section 5.2.2). An ICE restart changes only the ICE
    credentials. Some clients write a new session ID each time, and keep the ICE credentials. So both the session ID
    and the ICE user fragment must differ.
    """
    session_id = last_origin.partition(" ")[0]
    return session_id != sdp.content.session_id and last_ufrag != sdp.content.ice_ufrag
