"""Judge what a session description may say. What passes is forwarded byte for byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from conferences.exceptions import SdpDirectionError, SdpInvalidError
from events.exceptions import TooLargeError
from media.sdp.description import Description, ParsedSection, parse, transports
from media.sdp.syntax import SdpError

SDP_LIMIT = 512 * 1024  # bytes

_HOLD_DIRECTIONS = frozenset({"recvonly", "sendonly", "inactive"})
# What may answer an offered direction (RFC 3264 section 6.1).
_ANSWERS = {
    "sendrecv": frozenset({"sendrecv", "sendonly", "recvonly", "inactive"}),
    "sendonly": frozenset({"recvonly", "inactive"}),
    "recvonly": frozenset({"sendonly", "inactive"}),
    "inactive": frozenset({"inactive"}),
}


class DirectionRule(Enum):
    """Which directions an action wants (protocol section 4, "Hold")."""

    ANY = "any"
    HOLD = "hold"


@dataclass(frozen=True)
class JudgedSdp:
    """A session description that has been found well-formed: its text as received, and what it says.

    `type` is "offer" or "answer", or empty where a bare SDP may be either.
    """

    type: str
    text: str
    content: Description


def judge(type_: str, text: str) -> JudgedSdp:
    """Read a session description of the type and judge what can be judged of it alone.

    :raises TooLargeError: when it exceeds 512 KiB in UTF-8.
    :raises SdpInvalidError: when it is broken, has no media, or a live media line lacks keys to connect with.
    """
    # Counting characters first spares encoding what is too long anyway.
    if len(text) > SDP_LIMIT or len(text.encode(errors="surrogatepass")) > SDP_LIMIT:
        raise TooLargeError("The SDP is too large.", limit=SDP_LIMIT)
    try:
        content = parse(text)
        _require_keys(content)
        _require_names(content)
    except SdpError as error:
        raise SdpInvalidError(f"The SDP is invalid. {error}") from error
    if not content.media:
        raise SdpInvalidError("The SDP has no media line.")
    return JudgedSdp(type=type_, text=text, content=content)


def _require_keys(content: Description) -> None:
    """Require ICE credentials and a DTLS fingerprint of each live section, its own or those of its bundle."""
    for line in _transport_owners(content):
        if not content.has_ice(line):
            raise SdpInvalidError(f"The {line.kind} line has no ICE credentials.")
        if not content.has_fingerprint(line):
            raise SdpInvalidError(f"The {line.kind} line has no DTLS fingerprint (a=fingerprint).")


def _require_names(content: Description) -> None:
    """Require a name of each codec that has parameters: no browser applies the description otherwise."""
    for media in content.media:
        if media.is_rtp and (nameless := media.nameless_codecs()):
            raise SdpInvalidError(f"Payload type {nameless.pop()} has parameters, but no a=rtpmap.")


def _transport_owners(content: Description) -> Iterator[ParsedSection]:
    """Yield the live sections that must have keys. One may carry those of its bundle (RFC 9143 section 7.1.3)."""
    group_of = {mid: group for group in content.bundles for mid in group}
    # Other media than these needs no ICE: browsers reject it.
    connected = [line for line in content.live() if line.is_rtp or line.kind == "application"]
    live = connected or content.live()
    shared = {group_of.get(line.mid) for line in live if content.has_ice(line) and content.has_fingerprint(line)}
    for line in live:
        if line.mid not in group_of or group_of[line.mid] not in shared:
            yield line


def require_direction(judged: JudgedSdp, rule: DirectionRule) -> None:
    """Require the directions that the rule wants of the live audio and video lines.

    :raises SdpDirectionError: when they do not fit.
    """
    directions = _directions(judged.content)
    if rule is DirectionRule.HOLD and not _HOLD_DIRECTIONS.issuperset(directions):
        raise SdpDirectionError("On hold every media line must be recvonly, sendonly or inactive.")


def directions_of(description: Description) -> str:
    """Return the distinct directions of the live audio and video lines; "inactive" where there is none."""
    return " ".join(sorted(_directions(description))) or "inactive"


def require_resume(judged: JudgedSdp, before: str, *, listens: bool) -> None:
    """Require an offer to send again as `before` the hold (`directions_of`); unknown counts as both ways.

    If it `listens` on its own lines, it must also receive again. A focus decides what each participant receives.

    :raises SdpDirectionError: when it does not.
    """
    now, was = _directions(judged.content), set((before or "sendrecv").split()) - {"inactive"}
    if not listens:
        was -= {"recvonly"}
    if "sendrecv" in now or was <= now:
        return
    if "sendrecv" in was:
        raise SdpDirectionError("To resume, at least one media line must be sendrecv.")
    raise SdpDirectionError(f"To resume, media lines must be {' and '.join(sorted(was))}, as before the hold.")


def _directions(description: Description) -> set[str]:
    """Return the directions of the live audio and video lines."""
    return {line.direction for line in description.live() if line.is_rtp}


def require_fit(answer: JudgedSdp, offer: Description) -> None:
    """Require that the answer answers the offer line by line (RFC 3264 section 6).

    :raises SdpInvalidError: when lines are missing, added or of another kind.
    :raises SdpDirectionError: when a direction cannot answer the offered one.
    """
    offered, answered = offer.media, answer.content.media
    if [line.kind for line in offered] != [line.kind for line in answered]:
        raise SdpInvalidError("The answer must have the offer's media lines, in their order.")
    for offer_line, answer_line in zip(offered, answered, strict=True):
        # RFC 9143 section 7.3.1: an answer keeps the offer's identification tags.
        if offer_line.mid and answer_line.mid not in {"", offer_line.mid}:
            raise SdpInvalidError(f"The answer calls the media line '{offer_line.mid}' by another name (a=mid).")
        if not answer_line.live:
            continue
        if not offer_line.live:
            raise SdpInvalidError("The answer accepts a media line that the offer does not have.")
        if answer_line.is_rtp and answer_line.direction not in _ANSWERS[offer_line.direction]:
            raise SdpDirectionError(f"{answer_line.direction} cannot answer {offer_line.direction}.")
    _require_applicable(answer.content, offer)


def _require_applicable(answer: Description, offer: Description) -> None:
    """Require what a browser needs to apply an answer: chosen DTLS roles, and BUNDLE groups that were offered."""
    pairs = list(zip(offer.media, answer.media, strict=True))
    # By section and not by mid, which it may lack.
    offered_roles = {id(theirs): offer.stated(ours, "setup") for ours, theirs in pairs}
    for tag, *_ in transports(answer):
        role = answer.stated(tag, "setup")
        if role in ("actpass", "holdconn"):
            raise SdpInvalidError("An answer must choose its DTLS role: active or passive (a=setup).")
        if role and role == offered_roles[id(tag)]:
            raise SdpInvalidError(f"The answer has the offer's own DTLS role, {role} (a=setup).")
    accepted = {theirs.mid or ours.mid for ours, theirs in pairs if theirs.port != 0}
    if missing := answer.bundled - accepted:
        raise SdpInvalidError(f"The answer's BUNDLE group names {min(missing)!r}, which is absent or rejected.")
    _require_offered_groups(answer, offer)


def _require_offered_groups(answer: Description, offer: Description) -> None:
    """Require each BUNDLE group of an answer to be a part of another offered group (RFC 9143 section 7.3)."""
    offered = {mid: group for group in offer.bundles for mid in group}
    answered = [{offered.get(mid) for mid in group} for group in answer.bundles if group]
    if any(len(groups) > 1 or None in groups for groups in answered):
        raise SdpInvalidError("The answer's BUNDLE group has sections that were not offered in one group.")
    if len(answered) > len(set().union(*answered)):
        raise SdpInvalidError("The answer divides an offered BUNDLE group.")


def require_progress(judged: JudgedSdp, last_origin: str) -> None:
    """Require that the o= version has not gone back since the same leg's last description (RFC 3264 section 8).

    :raises SdpInvalidError: when it has.
    """
    session_id, _, version = last_origin.partition(" ")
    if session_id == judged.content.session_id and judged.content.version < int(version):
        raise SdpInvalidError("The version in the SDP's o= line has gone back.")


def is_another_connection(judged: JudgedSdp, last_origin: str, last_ufrag: str) -> bool:
    """Tell whether an offer comes from another peer connection than the same leg's last description.

    One connection keeps the session ID of its o= line (RFC 8829 section 5.2.2) or, where a client writes another one
    each time, its ICE credentials; an ICE restart changes these and keeps the session ID.
    """
    session_id = last_origin.partition(" ")[0]
    return session_id != judged.content.session_id and last_ufrag != judged.content.ice_ufrag
